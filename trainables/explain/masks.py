"""Hide tokens of texts by masks, and predict the masked texts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError

Predict = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Classifier: num_rows x length token ids -> num_rows probabilities of class 1, or of one class.

Special tokens are included, and nothing is padded.
"""

MOST_ENUMERATED = 14
"""Maximum number of tokens of a text for which all masks can be listed: 16,384 masks."""
MAX_TOKENS = 1 << 21
"""Maximum number of token ids of masked texts in memory at once: 16 MB."""


def draw_masks(
    num_tokens: int, num_samples: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Draw masks, the whole text first.

    The number of hidden tokens is uniform on 1 ... num_tokens, and each set of that many tokens is
    equally likely, as in citrus/lime.py of LIT 1.3 and lime_text.py of lime 0.2
    (``__data_labels_distances``). A mask that is drawn again is counted, not repeated. A text of T
    tokens has 2^T masks, so 5,000 samples of 8 tokens need only 255 predictions.

    Args:
        num_tokens: Number of tokens that may be hidden, at least 1.
        num_samples: Number of draws, without the whole text.
        seed: Seed of the draws.

    Returns:
        num_masks x num_tokens, true for kept tokens; rows are all different, and row 0 is all true.
        And num_masks counts, which sum to num_samples + 1.
    """
    rng = np.random.default_rng(seed)
    num_hidden = rng.integers(1, num_tokens + 1, size=num_samples)
    ranks = rng.random((num_samples, num_tokens)).argsort(axis=1).argsort(axis=1)
    kept = ranks >= num_hidden[:, None]
    packed, counts = np.unique(np.packbits(kept, axis=1), axis=0, return_counts=True)
    different = np.unpackbits(packed, axis=1, count=num_tokens).astype(bool)
    whole = np.ones((1, num_tokens), dtype=bool)
    return np.concatenate([whole, different]), np.concatenate([[1], counts])


def list_all_masks(
    num_tokens: int, num_samples: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """List every mask, with the count that :func:`draw_masks` gives it on average.

    k of T tokens are hidden with probability 1/T for each k = 1 ... T, and C(T, k) masks share it.
    This removes the sampling error; the ridge penalty has the same weight as with drawn masks.

    Args:
        num_tokens: Number of tokens T, at most :data:`MOST_ENUMERATED`.
        num_samples: Sum of the counts, without the whole text.

    Returns:
        2^T masks with fractional counts, in the form of :func:`draw_masks`.
    """
    numbers = np.arange(2**num_tokens - 1, -1, -1)
    kept = (numbers[:, None] >> np.arange(num_tokens)[::-1] & 1).astype(bool)
    ways = np.array([math.comb(num_tokens, k) for k in range(num_tokens + 1)])
    num_hidden = num_tokens - kept.sum(axis=1)
    counts = num_samples / (num_tokens * ways[num_hidden])
    counts[0] = 1
    return kept, counts


def hide(
    token_ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    kept: NDArray[np.bool_],
    replacement: int,
) -> NDArray[np.int64]:
    """Replace the hidden tokens of texts.

    Args:
        token_ids: num_texts x length token ids.
        positions: num_texts x num_tokens positions of the tokens that may be hidden.
        kept: num_texts x num_masks x num_tokens, true for kept tokens.
        replacement: Token id that replaces hidden tokens.

    Returns:
        num_texts x num_masks x length token ids.
    """
    num_texts, num_masks, _ = kept.shape
    keeps_id = np.ones((num_texts, num_masks, token_ids.shape[1]), dtype=bool)
    np.put_along_axis(keeps_id, positions[:, None, :].repeat(num_masks, 1), kept, axis=2)
    return np.where(keeps_id, token_ids[:, None, :], replacement)


def predict_masked(
    predict: Predict,
    token_ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    kept: NDArray[np.bool_],
    replacement: int | None,
) -> NDArray[np.float64]:
    """Predict masked texts.

    Args:
        predict: Classifier.
        token_ids: num_texts x length token ids.
        positions: num_texts x num_tokens positions, as in :func:`hide`.
        kept: num_texts x num_masks x num_tokens, true for kept tokens.
        replacement: Token id that replaces a hidden token; None deletes the token.

    Returns:
        num_texts x num_masks probabilities.

    Raises:
        InputError: Deleting leaves a text without any token.
    """
    num_texts, num_masks, _ = kept.shape
    length = token_ids.shape[1]
    scores = np.empty((num_texts, num_masks))
    step = max(1, MAX_TOKENS // (num_masks * length))
    for start in range(0, num_texts, step):
        part = slice(start, start + step)
        if replacement is not None:
            rows = hide(token_ids[part], positions[part], kept[part], replacement)
            scores[part] = predict(rows.reshape(-1, length)).reshape(-1, num_masks)
        else:
            hidden = hide(token_ids[part], positions[part], kept[part], -1).reshape(-1, length)
            scores[part] = _predict_shortened(predict, hidden).reshape(-1, num_masks)
    return scores


def _predict_shortened(predict: Predict, hidden: NDArray[np.int64]) -> NDArray[np.float64]:
    """Predict rows without their entries of -1, rows of equal length together."""
    lengths = (hidden >= 0).sum(axis=1)
    if not lengths.all():
        raise InputError(
            "deleting every token of a text leaves nothing, because this tokenizer adds no "
            "special tokens; choose another replacement, e.g. unk"
        )
    scores = np.empty(len(hidden))
    for length in np.unique(lengths):
        rows = hidden[lengths == length]
        scores[lengths == length] = predict(rows[rows >= 0].reshape(-1, length))
    return scores
