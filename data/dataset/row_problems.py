"""Problems of a table of headlines: empty cells, repeated ids, unknown languages and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.data.dataset.languages import parse_language

MAX_STRANGE = 10
"""Unknown languages that an error lists."""

Mask = NDArray[np.bool_]


def row_problems(
    table: pa.Table, row_name: Callable[[int], str] | None, classes: Sequence[str]
) -> list[str]:
    """Write a sentence for each kind of problem, with the first rows that have it."""
    if not table.num_rows:
        return ["has no rows; nothing can be drawn from it"]
    ids = table["id"]
    no_id, paired = _is_blank(ids, strip=False), table["text_pair"].null_count < len(table)
    kinds = {
        "without id; give every row one": no_id,
        "with empty text; fill or remove them": _is_blank(table["text"]),
        "without the second text of their pair; fill or remove them": (
            paired & _is_blank(table["text_pair"])
        ),
        "without language; fill or remove them": _is_blank(table["lang"], strip=False),
        "without label; fill or remove them": _numpy(table["label"].is_null()),
        "without source; fill them": _numpy(table["source"].is_null()),
        "with the id of an earlier row; ids must be unique": ~no_id & ~_is_first(ids),
    }

    def name(row: int) -> str:
        row_id = ids[row].as_py()
        return row_name(row) if row_name else f"id {row_id!r}" if row_id else f"row {row + 1}"

    problems = []
    for kind, is_bad in kinds.items():
        (bad,) = np.nonzero(is_bad)
        if len(bad):
            problems.append(f"{len(bad)} rows {kind}: {first_few(map(name, bad.tolist()))}")
    strange = list[str]()
    for row in np.nonzero(_is_first(table["lang"]))[0].tolist():
        lang = table["lang"][row].as_py()
        try:
            parse_language(lang or "und")
        except InputError as error:
            strange.append(f"{error}: {name(row)}")
            if len(strange) == MAX_STRANGE:  # perhaps another column
                break
    problems += strange
    labels = pc.unique(table["label"]).to_pylist()
    wrong = set(labels) - {*range(len(classes)), None}
    if wrong:
        known = "0 or 1" if len(classes) == 2 else f"0 to {len(classes) - 1}"
        problems.append(f"labels {sorted(map(str, wrong))} are not {known}")
    return problems


def _is_blank(column: pa.ChunkedArray, strip: bool = True) -> Mask:
    """Mark texts that are null or empty; with ``strip``, white space counts as empty."""
    texts = pc.utf8_trim_whitespace(column) if strip else column
    return _numpy(pc.fill_null(pc.equal(pc.binary_length(texts), 0), True))


def _is_first(column: pa.ChunkedArray) -> Mask:
    """Mark rows whose value no earlier row has; null counts as a value."""
    codes = column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    is_first = np.zeros(len(codes), bool)
    is_first[np.unique(codes, return_index=True)[1]] = True
    return is_first


def _numpy(flags: pa.ChunkedArray) -> Mask:
    mask: Mask = flags.to_numpy()
    return mask
