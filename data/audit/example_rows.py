"""Example rows of a finding."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from xlt.data.dataset.schema import Dataset

NUM_EXAMPLES = 3
"""Most rows that a finding shows."""
NUM_CHARACTERS = 60
"""Most characters of a text that a finding shows."""


def example_rows(dataset: Dataset, ids: Iterable[str]) -> tuple[str, ...]:
    """Format the first rows of ``ids``, each as its id and the beginning of its text."""
    first = list(islice(ids, NUM_EXAMPLES))
    texts = dataset.rows(first)["text"].to_pylist()
    clipped = [
        text if len(text) <= NUM_CHARACTERS else text[: NUM_CHARACTERS - 1] + "…" for text in texts
    ]
    return tuple(f"{row_id}: {text!r}" for row_id, text in zip(first, clipped, strict=True))
