"""Types of explanations: a classifier of token ids, texts of one length, and an explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.explain.masks import Predict, predict_masked

Values = NDArray[np.float64]
Integrate = Callable[[NDArray[np.int64], NDArray[np.int64], Values, Values], Values]
"""Function of (num_rows x length ids, baseline ids of the same shape, points in (0, 1), their
weights) that returns num_rows x length integrated gradients of the score."""


@dataclass(frozen=True)
class Target:
    """Classifier, as explainers use it.

    Attributes:
        predict: Function that returns the scores of texts of one length.
        integrate: Function that returns integrated gradients between embeddings; None if the
            classifier has no gradients.
        is_one_of_many: Whether the score is the probability of one of more than two classes, so
            that a low one does not mean that another class was meant.
    """

    predict: Predict
    integrate: Integrate | None = None
    is_one_of_many: bool = False


@dataclass(frozen=True)
class ClassTargets:
    """Classifier of more than two classes.

    Attributes:
        predict: Function that returns num_rows x num_classes probabilities of texts of one length.
        of_class: Function of the number of a class that returns the :class:`Target` for it.
    """

    predict: Callable[[NDArray[np.int64]], Values]
    of_class: Callable[[int], Target]


@dataclass(frozen=True)
class Group:
    """Texts with equally many ids and equally many tokens that may be hidden.

    Attributes:
        names: num_texts names; a text's random numbers depend on its name.
        token_ids: num_texts x length token ids, special tokens included.
        positions: num_texts x num_tokens positions of the tokens that may be hidden.
        hidden_as: Token id that replaces a hidden token; None deletes the token.
    """

    names: tuple[str, ...]
    token_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    hidden_as: int | None

    def score_masked(self, target: Target, kept: NDArray[np.bool_]) -> Values:
        """Predict masked texts.

        Args:
            target: Classifier.
            kept: num_texts x num_masks x num_tokens, true for kept tokens.

        Returns:
            num_texts x num_masks scores.
        """
        return predict_masked(target.predict, self.token_ids, self.positions, kept, self.hidden_as)

    def score_without_tokens(self, target: Target) -> Values:
        """Predict the texts with every token hidden."""
        num_texts, num_tokens = self.positions.shape
        return self.score_masked(target, np.zeros((num_texts, 1, num_tokens), dtype=bool))[:, 0]


@dataclass(frozen=True)
class Explanation:
    """Contribution of each token of a text to its score: the probability of the explained class.

    Attributes:
        coefficients: num_tokens contributions.
        standard_errors: num_tokens standard errors from the random numbers of the method; 0 for
            methods without random numbers.
        intercept: The method's score of the text without its tokens.
        r2: Share of the variance of the scores that the contributions explain; nan if not defined.
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
    """Group texts of equal length, so that no batch is padded.

    Args:
        names: num_texts names, all different.
        token_ids: Token ids of each text.
        never_hidden: Ids of the special tokens that are never hidden.
        hidden_as: Token id that replaces a hidden token; None deletes the token.

    Returns:
        (numbers of the texts, group) by length; each text is in one group.

    Raises:
        InputError: A text has no token that may be hidden.
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
