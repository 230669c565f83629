"""Csv that a spreadsheet shows and never computes, and texts without control characters."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.text import plain, plain_line
from xlt.data.tables.csv_text import csv_rows


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1+1", "' =1+1"),
        ("\t=1+1", "'\t=1+1"),
        ("＝1+1", "'＝1+1"),
        ("-0.5", "-0.5"),
        ("+1e-5", "+1e-5"),
        ("-.5", "-.5"),
        ("-", "-"),
        ("a=b", "a=b"),
        (-0.5, "-0.5"),
        (float("-inf"), "-inf"),
        (None, ""),
        ("a\x1b[31mb", r"a\x1b[31mb"),
    ],
)
def test_only_texts_like_formulas_get_an_apostrophe(cell: object, written: str) -> None:
    assert next(csv.reader(io.StringIO(csv_rows([[cell, "x"]]))))[0] == written


@given(st.lists(st.text(), min_size=1))
def test_no_cell_starts_a_formula_and_each_comes_back(cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(csv_rows([[*cells, "end"]]), newline=""))
    for cell, back in zip(cells, read, strict=False):
        assert back.removeprefix("'") in (plain(cell), plain(cell).removeprefix("'"))
        start = back.lstrip()
        assert len(start) < 2 or start[0] not in "=+-@" or float(start.split()[0]) is not None


@given(st.text(st.characters()))
def test_no_text_controls_a_terminal(text: str) -> None:
    shown = plain(text)
    kinds = {unicodedata.category(c) for c in shown.replace("\r\n", "") if c not in "\t\n"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()
    line = plain_line(text)
    assert not set(line) & set("\t\r\n") and len(line.splitlines()) <= 1


def test_scripts_that_need_joiners_stay_as_they_are() -> None:
    text = "می\u200cخواهم 👩\u200d🔬 שלום\u200f 日本"
    assert plain(text) == plain_line(text) == text
