"""The data that a page holds."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any


def data_of(html: str) -> dict[str, Any]:
    match = re.search(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>', html)
    assert match
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(match[1])))
    return data
