"""Short forms of texts for messages."""

from __future__ import annotations

import pytest

from xlt.data.core.text import name_numbers


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([0, 1, 2, 3, 4], "0, 1, 2, 3, 4"),
        (range(102), "0 to 101"),
        ([*range(100), 200, 7], "0 to 99, 200, 7"),
        ([5, 4, 3, 2, 1, 0], "5, 4, 3, 2, 1, 0"),
        (range(0, 200, 2), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 88 more"),
    ],
)
def test_many_numbers_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert name_numbers(numbers) == text
