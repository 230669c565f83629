"""Ids of rows in files that have none: hashes of the other cells."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TO_BE_MADE = ""
"""Placeholder of an id that is made later. No id in a file is empty text; empty cells are None."""


def fill_ids(columns: Mapping[str, Any], labels: Any) -> Any:
    """Replace :data:`TO_BE_MADE` by ids: hashes of a row's cells, with a number for repeated rows.

    Args:
        columns: Column of :data:`HEADLINE_SCHEMA` -> num_rows cells.
        labels: num_rows labels, which are hashed too.
    """
    missing = pc.equal(columns["id"], TO_BE_MADE)
    if not pc.any(missing).as_py():
        return columns["id"]
    num_made: Counter[str] = Counter()
    names = ("text", "lang", "published", "source", "text_pair")
    cells = zip(*(columns[name].to_pylist() for name in names), labels.to_pylist(), strict=True)
    ids = columns["id"].to_pylist()
    for row, (text, lang, day, source, pair, label) in enumerate(cells):
        if ids[row] == TO_BE_MADE:
            parts = [text, lang, label, day, source] + ([] if pair is None else [pair])
            digest = hashlib.sha256(json.dumps(parts, default=date.isoformat).encode()).hexdigest()
            made_id = digest[:16]
            num_made[made_id] += 1
            number = num_made[made_id]
            ids[row] = made_id if number == 1 else f"{made_id}-{number}"
    return pa.array(ids, pa.string())
