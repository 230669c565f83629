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
    """Weigh masks by sqrt(exp(-d^2 / width^2)), with d = 100 x cosine distance to the whole text.

    The formula is that of ``kernel`` and ``explain_instance`` of lime 0.2 (lime_text.py). The
    cosine of a mask that keeps k of T tokens and the whole text is sqrt(k / T). A mask without a
    token has distance 1.

    Args:
        num_kept: num_masks numbers of kept tokens, 0 ... num_tokens.
        num_tokens: Number of tokens T.
        width: Kernel width. At 256 a text without a token still weighs 0.93; at 25 it weighs
            0.0003.

    Returns:
        num_masks weights in (0, 1].
    """
    distance = 100 * (1 - np.sqrt(num_kept / num_tokens))
    return np.sqrt(np.exp(-(distance**2) / width**2))


@dataclass(frozen=True)
class Surrogate:
    """Weighted ridge regression on masks, solved once and applied to any number of texts.

    Coefficients are linear in the scores, so one operator serves all texts with these masks. The
    regression is sklearn.linear_model.Ridge with ``fit_intercept`` and ``sample_weight``: masks and
    scores are centred by their weighted means, and the intercept is not penalised.

    Args:
        kept: num_masks x num_tokens, true for kept tokens; all rows are different.
        counts: num_masks numbers of draws of each mask.
        weights: num_masks weights of a single draw.
        alpha: Penalty on squared coefficients.
    """

    kept: NDArray[np.bool_]
    counts: Counts
    weights: Values
    alpha: float

    def fit(self, scores: Values) -> tuple[Values, Values, Values, Values]:
        """Regress scores on the masks.

        Standard errors estimate how much other masks would change the coefficients. They are the
        sandwich estimator of a regression whose model is not exact (White 1980, Econometrica
        48:817), times n / (n - T - 1) (MacKinnon & White 1985, HC1). A mask that was drawn c times
        enters c times. Standard errors are infinite if there are no more draws than coefficients.

        Args:
            scores: num_texts x num_masks probabilities.

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
        with np.errstate(invalid="ignore"):  # infinity times a residual of zero
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
    """Explain texts with equally many tokens by LIME.

    All texts share the drawn masks and so the solved regression, but each text assigns its tokens
    to the columns in its own random order. A permutation of columns does not change the
    distribution of masks, so each text is explained as if it had its own masks. Token i of one text
    and token i of the next are in different columns, so their errors do not add up when
    contributions are averaged over texts (measured in docs/benchmarks.md).

    Args:
        target: Classifier.
        group: Texts with equally many tokens.
        masks: ``drawn``, or ``all`` for every possible mask, which gives results without sampling
            error.
        num_samples: Number of masked copies of each text; with ``all``, the sum of the masks'
            counts.
        kernel_width: Kernel width, see :func:`kernel`.
        alpha: Ridge penalty.
        seed: Seed of masks and column orders.

    Returns:
        One explanation per text.
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
    text_masks = kept.T[orders].transpose(0, 2, 1)  # num_texts x num_masks x num_tokens
    scores = group.score_masked(target, text_masks)
    coefficients, errors, intercepts, r2 = Surrogate(kept, counts, weights, alpha).fit(scores)
    if masks == "all":  # no other masks exist
        errors = np.zeros_like(errors)
    is_empty = kept.sum(axis=1) == 0
    masked = scores[:, is_empty][:, 0] if is_empty.any() else group.score_without_tokens(target)
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
