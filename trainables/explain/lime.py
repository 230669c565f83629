"""LIME (Ribeiro, Singh & Guestrin 2016, KDD) on token ids: masks, kernel, ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.trainables.explain.masks import draw_masks, list_all_masks
from xlt.trainables.explain.target import Explanation, Group, Target
from xlt.trainables.spec.explain import Masks

Values = NDArray[np.float64]
Counts = NDArray[np.int64] | Values


def kernel(num_kept: NDArray[np.int64], num_tokens: int, width: float) -> Values:
    """Weight of a mask: sqrt(exp(-d^2 / width^2)) at d = 100 x cosine distance to the whole text.

    As ``kernel`` and ``explain_instance`` of lime 0.2 (lime_text.py). The cosine of a mask with k
    of T tokens and the whole text is sqrt(k / T); without a token the distance counts as 1.

    Args:
        num_kept: num_masks, 0 ... num_tokens.
        num_tokens: T.
        width: At 256 a text without a token still weighs 0.93, at 25 it weighs 0.0003.

    Returns:
        num_masks weights in (0, 1].
    """
    distance = 100 * (1 - np.sqrt(num_kept / num_tokens))
    return np.sqrt(np.exp(-(distance**2) / width**2))


@dataclass(frozen=True)
class Surrogate:
    """Weighted ridge regression on masks, solved once and applied to any number of texts.

    Coefficients are linear in the scores, so one operator serves all texts with these masks. It
    is sklearn.linear_model.Ridge with ``fit_intercept`` and ``sample_weight``: masks and scores
    are centred by their weighted means and the intercept is not penalised.

    Args:
        kept: num_masks x num_tokens, all different.
        counts: num_masks, how often each was drawn.
        weights: num_masks, of one draw of each.
        alpha: Penalty of squared coefficients.
    """

    kept: NDArray[np.bool_]
    counts: Counts
    weights: Values
    alpha: float

    def fit(self, scores: Values) -> tuple[Values, Values, Values, Values]:
        """Regress scores on the masks.

        Standard errors are what other masks would change: the sandwich estimator of a regression
        whose model is not exact (White 1980, Econometrica 48:817), times n / (n - T - 1)
        (MacKinnon & White 1985, HC1). A mask drawn c times enters it c times. They are infinite
        where there are no more draws than coefficients.

        Args:
            scores: num_texts x num_masks.

        Returns:
            num_texts x num_tokens coefficients and their standard errors, num_texts intercepts,
            num_texts weighted R^2 (nan where the scores are constant).
        """
        total = self.counts * self.weights
        share = total / total.sum()
        design = self.kept.astype(np.float64)
        mean = share @ design
        centred = design - mean
        weighted = centred.T * total
        gram = weighted @ centred + self.alpha * np.eye(design.shape[1])
        operator = np.linalg.solve(gram, weighted)

        coefficients = scores @ operator.T
        level = scores @ share
        intercepts = level - coefficients @ mean
        residuals = scores - coefficients @ design.T - intercepts[:, None]
        num_draws, num_tokens = round(self.counts.sum()), design.shape[1]
        spare = num_draws - num_tokens - 1
        factor = num_draws / spare if spare > 0 else np.inf
        with np.errstate(invalid="ignore"):  # infinity times no residual at all
            variance = factor * (residuals**2 @ (operator**2 / self.counts).T)
        unexplained = residuals**2 @ share
        spread = (scores - level[:, None]) ** 2 @ share
        varies = spread > np.finfo(np.float64).eps * np.maximum(1, level**2)
        r2 = np.where(varies, 1 - unexplained / np.where(varies, spread, 1), np.nan)
        return coefficients, np.sqrt(variance), intercepts, r2


def explain_lime(
    target: Target,
    group: Group,
    *,
    masks: Masks,
    num_samples: int,
    kernel_width: float,
    alpha: float,
    seed: int,
) -> list[Explanation]:
    """LIME of texts with equally many tokens.

    All of them share the drawn masks, and with these the solved regression, but each takes the
    columns in an order of its own. A permutation of columns does not change how likely masks are,
    so that each text for itself is explained as with masks of its own; and because token i of one
    text and token i of the next then stand in different columns, their errors do not add up where
    contributions are averaged over texts (measured in docs/benchmarks.md).

    Args:
        target: The classifier.
        group: The texts.
        masks: ``drawn``, or ``all`` there are, for results without the chance of drawing.
        num_samples: Masked copies of each text; with all masks, what their weights add up to.
        kernel_width: See :func:`kernel`.
        alpha: Ridge penalty.
        seed: Of masks and orders.

    Returns:
        One explanation a text.
    """
    num_texts, num_tokens = group.positions.shape
    counts: Counts
    if masks == "all":
        kept, counts = list_all_masks(num_tokens, num_samples)
    else:
        kept, counts = draw_masks(num_tokens, num_samples, derive_seed(seed, "masks", num_tokens))
    weights = kernel(kept.sum(axis=1), num_tokens, kernel_width)
    orders = np.stack(
        [
            np.random.default_rng(derive_seed(seed, "order", name)).permutation(num_tokens)
            for name in group.names
        ]
    )
    own = kept.T[orders].transpose(0, 2, 1)  # num_texts x num_masks x num_tokens
    scores = group.score_masked(target, own)
    coefficients, errors, intercepts, r2 = Surrogate(kept, counts, weights, alpha).fit(scores)
    if masks == "all":  # no other masks could have been drawn
        errors = np.zeros_like(errors)
    without = kept.sum(axis=1) == 0
    masked = scores[:, without][:, 0] if without.any() else group.score_without_tokens(target)
    return [
        Explanation(
            coefficients[text][orders[text]],
            errors[text][orders[text]],
            float(intercepts[text]),
            float(r2[text]),
            float(scores[text, 0]),
            float(masked[text]),
        )
        for text in range(num_texts)
    ]
