"""Passwords, tokens and keys are cut from texts that may be passed on."""

from __future__ import annotations

import pytest

from xlt.data.core.secrets import remove_secrets


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
