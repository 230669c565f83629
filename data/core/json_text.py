"""JSON of files, parsed with limits, so that no file crashes a command or fills the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

MAX_DEPTH = 100
"""Deepest nesting of lists and objects. Files of this project and of checkpoints stay below 20, and
Python's own parser ends with a RecursionError near 1,000."""
MAX_JSON_BYTES = 256 << 20
"""Size of the largest file that is read as JSON; the plan of 100,000 trials has 12 MB."""


def parse_json(content: bytes | str) -> Any:
    """Parse JSON in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: The content is larger than :data:`MAX_JSON_BYTES`, not UTF-8 or not JSON, is
            nested deeper than :data:`MAX_DEPTH`, or holds half of a surrogate pair, which is no
            character and could not be written again.
    """
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"larger than {MAX_JSON_BYTES >> 20} MiB")
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except RecursionError:
        too_deep = True
    else:
        may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
        too_deep = may_be_deep and is_deeper(value, MAX_DEPTH)
    if too_deep:
        raise ValueError(f"lists or objects are nested deeper than {MAX_DEPTH} levels")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects of a JSON value are nested deeper than ``depth`` levels."""
    level = [value]
    for _ in range(depth):
        level = list(chain.from_iterable(map(_children, level)))
    return any(isinstance(item, (dict, list)) for item in level)


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value if isinstance(value, list) else ())
