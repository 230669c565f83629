"""Integrated gradients of token embeddings (Sundararajan, Taly & Yan 2017, ICML)."""

from __future__ import annotations

import numpy as np

from xlt.data.core.errors import InputError
from xlt.trainables.explain.masks import hide
from xlt.trainables.explain.target import Explanation, Group, Target


def explain_integrated_gradients(target: Target, group: Group, num_steps: int) -> list[Explanation]:
    """Explain texts by gradients along the line from the fully hidden text to the text itself.

    The points are those of Gauss-Legendre quadrature, which is also captum's default
    (attr/_utils/approximation_methods.py). Contributions add up to the difference of the two
    scores, except for the quadrature error of ``num_steps`` points.

    Args:
        target: Classifier with ``integrate``.
        group: Texts with equally many tokens.
        num_steps: Number of points on the line, with one gradient each.

    Returns:
        One explanation per text; its intercept is the score of the fully hidden text.

    Raises:
        InputError: The classifier gives no gradients, or hidden tokens are deleted, which leaves no
            line between texts of equal length.
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
    none_kept = np.zeros((num_texts, 1, num_tokens), dtype=bool)
    baselines = hide(group.token_ids, group.positions, none_kept, group.hidden_as)[:, 0]
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
