"""Csv that people open in a spreadsheet, which would run a cell that looks like a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from xlt.data.core.text import plain

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20].")  # spreadsheets read wide signs, too
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows of csv in which a spreadsheet computes nothing.

    A text that begins like a formula gets an apostrophe in front (OWASP, "CSV Injection"); numbers
    such as -0.5 are no formulas. Control characters become escapes, see :func:`plain`.
    """
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return sink.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = plain(value)
    is_formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
