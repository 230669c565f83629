"""Texts for messages: numbers as ranges, secrets cut."""

from __future__ import annotations

import pytest

from xlt.data.core.text import name_numbers, remove_secrets


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:secret@bucket/x", "s3://…@bucket/x"),
        ("Authorization: Bearer abcdefgh123", "Authorization: Bearer …"),
        ("password='x y' left", "password=… left"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": …, "n": 1}'),
        ("AKIAABCDEFGHIJKLMNOP", "AKIA…"),
        ("CUDA out of memory: tokens per batch 16", "CUDA out of memory: tokens per batch 16"),
    ],
)
def test_secrets_are_cut(text: str, shown: str) -> None:
    assert remove_secrets(text) == shown
