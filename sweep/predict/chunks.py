"""Read the input of `xlt predict` in chunks, and tag a chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa

from xlt.data.tables.unlabelled import TextRow, Unlabelled, read_unlabelled

if TYPE_CHECKING:
    from xlt.trainables.inference.tagging import Tagger

KEPT = "kept:"
"""Prefix, in tagged chunks, of the names of columns that are passed through."""


@dataclass(frozen=True)
class Chunk:
    """Rows that are read, sorted by length, scored and written together.

    Attributes:
        number: Position in the input, from 0.
        rows: One or more rows.
    """

    number: int
    rows: list[TextRow]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all content of the rows."""
        return hashlib.sha256(orjson.dumps([list(row) for row in self.rows])).hexdigest()


def read_chunks(source: Unlabelled, chunk_rows: int) -> Iterator[Chunk]:
    """Read the input in chunks of ``chunk_rows`` rows; the last chunk may be smaller.

    Raises:
        InputError: See :func:`read_unlabelled`.
    """
    rows = read_unlabelled(source)
    number = 0
    while chunk := list(islice(rows, chunk_rows)):
        yield Chunk(number, chunk)
        number += 1


def tag(tagger: Tagger, chunk: Chunk, keep: list[str], batch_size: int) -> pa.Table:
    """Score a chunk.

    Args:
        tagger: Classifier.
        chunk: Rows to score.
        keep: Output names of the columns that are passed through.
        batch_size: Texts of a batch.

    Returns:
        num_rows x (file, row, id, lang, y_score, problem, truncated, kept:...), without texts.
        y_score has the form of a trial's predictions; it is null if ``problem`` gives a reason why
        the row has no score.
    """
    rows = chunk.rows
    problems = [row.problem for row in rows]
    given = [n for n, problem in enumerate(problems) if not problem]
    pairs = [rows[n].text_pair for n in given]
    scored = tagger.score(
        [rows[n].text for n in given],
        [pair or "" for pair in pairs] if pairs and pairs[0] is not None else None,
        batch_size,
    )
    y_score: list[float | list[float] | None] = [None] * len(rows)
    truncated = np.zeros(len(rows), dtype=bool)
    for place, n in enumerate(given):
        problems[n] = scored.problems[place]
        truncated[n] = scored.truncated[place]
        if not problems[n]:
            y_score[n] = scored.y_score[place].tolist()
    several = scored.y_score.ndim == 2
    kept = {
        KEPT + name: pa.array([row.kept[n] for row in rows], pa.string())
        for n, name in enumerate(keep)
    }
    return pa.table(
        {
            "file": pa.array([row.file for row in rows], pa.string()),
            "row": pa.array([row.row for row in rows], pa.int64()),
            "id": pa.array([row.id for row in rows], pa.string()),
            "lang": pa.array([row.lang for row in rows], pa.string()),
            "y_score": pa.array(y_score, pa.list_(pa.float64()) if several else pa.float64()),
            "problem": pa.array(problems, pa.string()),
            "truncated": pa.array(truncated),
            **kept,
        }
    )
