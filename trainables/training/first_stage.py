"""Results of the first of two stages, which the checkpoints of the second stage hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HISTORY = "history."


@dataclass(frozen=True)
class FirstStage:
    """Results of the first stage, in addition to the weights.

    Attributes:
        history: Table of its steps, as returned by :func:`training_steps`.
        train_score: Probabilities of its rows when they were last trained on, in the form of
            :func:`predict`.
        kept_steps: Steps after which the weights were those of the model, or were averaged to it.
        num_places: Number of places that this trial computed, and how many of them were tokens.
        taken_from: Id of the trial whose kept model was taken; empty if this trial trained.
        why_trained: Why no kept model was taken; empty if one was taken.
    """

    history: pa.Table
    train_score: NDArray[np.float64]
    kept_steps: Sequence[int]
    num_places: tuple[int, int] = (0, 0)
    taken_from: str = ""
    why_trained: str = ""

    def describe(self) -> dict[str, str]:
        """Describe where the stage comes from, for ``execution``."""
        return {"taken_from": self.taken_from, "why_trained": self.why_trained}

    def to_arrays(self) -> tuple[str, dict[str, NDArray[Any]]]:
        """Make the form in checkpoints: a text, and arrays by name."""
        columns = zip(self.history.column_names, self.history.columns, strict=True)
        arrays = {_HISTORY + name: column.to_numpy().copy() for name, column in columns}
        arrays |= {"train_score": self.train_score, "num_places": np.array(self.num_places)}
        notes = {"columns": self.history.column_names, "kept_steps": [*self.kept_steps]}
        return json.dumps(notes | self.describe()), arrays

    @classmethod
    def from_arrays(cls, text: str, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read the form of :meth:`to_arrays`."""
        notes = json.loads(text)
        history = pa.table({name: arrays[_HISTORY + name] for name in notes.pop("columns")})
        num_places, num_tokens = arrays["num_places"].tolist()
        places = num_places, num_tokens
        return cls(history, arrays["train_score"], num_places=places, **notes)
