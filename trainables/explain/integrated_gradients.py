"""Integrated gradients (Sundararajan, Taly & Yan 2017, ICML) between embeddings."""

from __future__ import annotations

import numpy as np

from xlt.data.core.errors import InputError
from xlt.trainables.explain.masks import hide
from xlt.trainables.explain.target import Explanation, Group, Target


def explain_integrated_gradients(target: Target, group: Group, num_steps: int) -> list[Explanation]:
    """Gradients summed along the line from the text with every token hidden to the text itself.

    The points are those of Gauss and Legendre, captum's default too (attr/_utils/
    approximation_methods.py). Contributions add up to the difference of the two scores but for the
    error of ``num_steps`` points.

    Args:
        target: The classifier, with ``integrate``.
        group: The texts.
        num_steps: Points on the line, one gradient each.

    Returns:
        One explanation a text; its intercept is the score of the baseline.

    Raises:
        InputError: The classifier gives no gradients, or hidden tokens are deleted: there is no
            line between texts of different length.
    """
    if target.integrate is None:
        raise InputError(
            "ig needs gradients, and this classifier only predicts; choose lime or occlusion, or "
            "give `integrate`"
        )
    if group.hidden_as is None:
        raise InputError(
            "ig needs a baseline of the same length, and the replacement is delete; choose unk, "
            "pad, space or mask"
        )
    num_texts, num_tokens = group.positions.shape
    nothing = np.zeros((num_texts, 1, num_tokens), dtype=bool)
    baselines = hide(group.token_ids, group.positions, nothing, group.hidden_as)[:, 0]
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)
    gradients = target.integrate(group.token_ids, baselines, (nodes + 1) / 2, weights / 2)
    coefficients = np.take_along_axis(gradients, group.positions, axis=1)
    originals, masked = target.predict(group.token_ids), target.predict(baselines)
    return [
        Explanation(
            coefficients[text],
            np.zeros(num_tokens),
            float(masked[text]),
            float("nan"),
            float(originals[text]),
            float(masked[text]),
        )
        for text in range(num_texts)
    ]
