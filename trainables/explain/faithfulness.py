"""Faithfulness: does the classifier use the tokens that an explanation ranks first?

The measures are comprehensiveness and sufficiency of DeYoung et al. 2020 (ACL, "ERASER", section
4.3). Comprehensiveness is the drop of the predicted class's probability (with more than two
classes: of the explained class's) when the highest ranked
tokens are hidden (high is good). Sufficiency is the drop when all other tokens are hidden (low is
good). Both are means over several numbers of tokens. A short text loses much whichever token is
hidden, so both are also measured for tokens in random order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.trainables.explain.target import Explanation, Group, Target

SHARES = (0.1, 0.2, 0.5)
"""Shares of a text's tokens that count as highest ranked, rounded up.

The paper's smallest shares, 1 % and 5 %, are one token too in a headline.
"""


@dataclass(frozen=True)
class Faithfulness:
    """Faithfulness of one explanation, in differences of the predicted class's probability.

    Attributes:
        comprehensiveness: Mean drop when the highest ranked tokens are hidden.
        sufficiency: Mean drop when all other tokens are hidden.
        random_comprehensiveness: Comprehensiveness of tokens in random order.
        random_sufficiency: Sufficiency of tokens in random order.
    """

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float


def measure_faithfulness(
    target: Target, group: Group, explanations: Sequence[Explanation]
) -> list[Faithfulness]:
    """Measure faithfulness by hiding the highest ranked tokens, all others, and random tokens.

    Args:
        target: Classifier.
        group: Texts with equally many tokens.
        explanations: One explanation per text; tokens are ranked by their contributions to the
            predicted class, or to the explained one of many.

    Returns:
        One measurement per text.
    """
    num_tokens = group.positions.shape[1]
    sizes = [math.ceil(share * num_tokens) for share in SHARES]
    originals = np.array([e.p_original for e in explanations])
    signs = np.where((originals >= 0.5) | target.is_one_of_many, 1.0, -1.0)
    ranked = np.stack(
        [sign * e.coefficients for sign, e in zip(signs, explanations, strict=True)]
    ).argsort(axis=1, kind="stable")[:, ::-1]
    random_rankings = np.stack(
        [
            np.random.default_rng(derive_seed(0, "random ranking", name)).permutation(num_tokens)
            for name in group.names
        ]
    )
    first = np.concatenate(
        [_mark_first(ranked, sizes), _mark_first(random_rankings, sizes)], axis=1
    )
    # the first tokens hidden (ranked, random), then all others hidden (ranked, random)
    scores = group.score_masked(target, np.concatenate([~first, first], axis=1))
    drops = (signs * originals)[:, None] - signs[:, None] * scores
    means = drops.reshape(len(explanations), 4, len(sizes)).mean(axis=2)
    return [Faithfulness(row[0], row[2], row[1], row[3]) for row in means.tolist()]


def _mark_first(ranking: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.bool_]:
    """Return num_texts x num_sizes x num_tokens, true for the first tokens of each ranking."""
    ranks = ranking.argsort(axis=1)
    return ranks[:, None, :] < np.array(sizes)[None, :, None]
