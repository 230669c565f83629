"""Occlusion (Zeiler & Fergus 2014, ECCV): what the score loses when one token is hidden."""

from __future__ import annotations

import numpy as np

from xlt.trainables.explain.target import Explanation, Group, Target


def explain_occlusion(target: Target, group: Group) -> list[Explanation]:
    """Leave-one-out contributions of texts with equally many tokens.

    Args:
        target: The classifier.
        group: The texts.

    Returns:
        One explanation a text; its intercept is the score of the text with every token hidden.
    """
    num_texts, num_tokens = group.positions.shape
    masks = np.concatenate(
        [
            np.ones((1, num_tokens), dtype=bool),
            np.zeros((1, num_tokens), dtype=bool),
            ~np.eye(num_tokens, dtype=bool),
        ]
    )
    scores = group.score_masked(target, np.broadcast_to(masks, (num_texts, *masks.shape)))
    return [
        Explanation(
            original - without_one,
            np.zeros(num_tokens),
            float(masked),
            float("nan"),
            float(original),
            float(masked),
        )
        for original, masked, without_one in zip(
            scores[:, 0], scores[:, 1], scores[:, 2:], strict=True
        )
    ]
