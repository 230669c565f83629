"""Occlusion (Zeiler & Fergus 2014, ECCV): the drop of the score when one token is hidden."""

from __future__ import annotations

import numpy as np

from xlt.trainables.explain.target import Explanation, Group, Target


def explain_occlusion(target: Target, group: Group) -> list[Explanation]:
    """Explain texts by the drop of the score when each token alone is hidden.

    Args:
        target: Classifier.
        group: Texts with equally many tokens.

    Returns:
        One explanation per text; its intercept is the score of the fully hidden text.
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
            original - one_hidden,
            np.zeros(num_tokens),
            float(masked),
            float("nan"),
            float(original),
            float(masked),
        )
        for original, masked, one_hidden in zip(
            scores[:, 0], scores[:, 1], scores[:, 2:], strict=True
        )
    ]
