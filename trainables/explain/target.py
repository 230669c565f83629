"""What is explained: a classifier of token ids, texts of one length, one explanation a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.explain.masks import Predict, predict_masked

Values = NDArray[np.float64]
Integrate = Callable[[NDArray[np.int64], NDArray[np.int64], Values, Values], Values]
"""(num_rows x length ids, as many baseline ids, points in (0, 1), their weights) to num_rows x
length integrated gradients of the probability of class 1."""


@dataclass(frozen=True)
class Target:
    """A classifier, as far as explainers look at it.

    Attributes:
        predict: Scores of texts of one length.
        integrate: Gradients along straight lines between embeddings; None: cannot be had.
    """

    predict: Predict
    integrate: Integrate | None = None


@dataclass(frozen=True)
class Group:
    """Texts with equally many ids and equally many tokens that may be hidden.

    Attributes:
        names: num_texts names; those of a text draw its random numbers.
        token_ids: num_texts x length, special tokens included.
        positions: num_texts x num_tokens, where the tokens that may be hidden stand.
        hidden_as: Token id that stands for a hidden token; None: it is deleted.
    """

    names: tuple[str, ...]
    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    hidden_as: int | None

    def score_masked(self, target: Target, kept: NDArray[np.bool_]) -> Values:
        """Scores of masked texts.

        Args:
            target: The classifier.
            kept: num_texts x num_masks x num_tokens.

        Returns:
            num_texts x num_masks.
        """
        return predict_masked(target.predict, self.token_ids, self.positions, kept, self.hidden_as)

    def score_without_tokens(self, target: Target) -> Values:
        """Scores of the texts with every token hidden."""
        num_texts, num_tokens = self.positions.shape
        return self.score_masked(target, np.zeros((num_texts, 1, num_tokens), dtype=bool))[:, 0]


@dataclass(frozen=True)
class Explanation:
    """How much each token of a text adds to the probability of class 1.

    Attributes:
        coefficients: num_tokens contributions.
        standard_errors: num_tokens, of the random numbers of the method; 0 for methods without.
        intercept: What the method says of the text without its tokens.
        r2: Share of the variance of the scores that the contributions explain; nan: not defined.
        p_original: Score of the text.
        p_masked: Score of the text with every token hidden.
    """

    coefficients: Values
    standard_errors: Values
    intercept: float
    r2: float
    p_original: float
    p_masked: float


def group_texts(
    names: Sequence[str],
    token_ids: Sequence[Sequence[int]],
    never_hidden: frozenset[int],
    hidden_as: int | None,
) -> list[tuple[list[int], Group]]:
    """Put texts of one length together, so that no batch is padded.

    Args:
        names: num_texts names, all different.
        token_ids: Ids of each text.
        never_hidden: Ids of the special tokens that stay.
        hidden_as: As in :class:`Group`.

    Returns:
        (numbers of the texts, group) by length; every text once.

    Raises:
        InputError: Texts without a token that may be hidden.
    """
    special = np.fromiter(never_hidden, dtype=np.int64, count=len(never_hidden))
    rows = [np.asarray(ids, dtype=np.int64) for ids in token_ids]
    places = [np.flatnonzero(~np.isin(row, special)) for row in rows]
    empty = [name for name, place in zip(names, places, strict=True) if not len(place)]
    if empty:
        raise InputError(
            f"{len(empty)} texts have no token to explain, first ids {empty[:3]}; remove these "
            "texts, or raise max_length if it cuts them off"
        )
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        sizes.setdefault((len(row), len(place)), []).append(number)
    return [
        (
            numbers,
            Group(
                tuple(names[n] for n in numbers),
                np.stack([rows[n] for n in numbers]),
                np.stack([places[n] for n in numbers]),
                hidden_as,
            ),
        )
        for _, numbers in sorted(sizes.items())
    ]
