"""Aligned columns: display widths as rich measures them, plain lines, numbers to the right."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from xlt.data.tables.aligned_text import align, width


@pytest.mark.parametrize(
    "text", ["", "plain", "日本語 mBERT", "ｶﾅ", "＋１", "é", "e\u0301", "한국어", "ไทย", "→"]
)
def test_widths_are_those_of_rich(text: str) -> None:
    assert width(text) == cell_len(text)


def test_columns_are_aligned_by_width() -> None:
    rows = [("name", "rows", "remark"), ("日本", "1,000", "x"), ("e\u0301", "9", "")]
    assert align(rows, numbers=[1]) == [
        "name   rows  remark",
        "日本  1,000  x",
        "e\u0301         9",
    ]


def test_a_row_is_one_line_whatever_its_texts_hold() -> None:
    lines = align([("a", "b"), ("two\nlines", "\x1b[31mred"), ("long " * 100, "[bold]:smile:")])
    assert lines[1].split("  ")[0] == "two lines"
    assert "\x1b" not in "".join(lines) and "\n" not in "".join(lines)
    assert lines[2].endswith("[bold]:smile:")
