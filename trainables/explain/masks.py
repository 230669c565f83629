"""Which tokens of a text are hidden, and what the classifier says of the text without them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError

Predict = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""num_rows x length token ids, special tokens included and nothing padded, to num_rows
probabilities of class 1."""

MOST_ENUMERATED = 14
"""Tokens of a text all of whose masks can be asked for: 16,384 copies of it."""
MAX_TOKENS = 1 << 21
"""Token ids of masked texts that are made at once: 16 MB."""


def draw_masks(
    num_tokens: int, num_samples: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Draw which tokens are kept, the whole text first.

    How many tokens are hidden is uniform on 1 ... num_tokens, which ones is uniform among those,
    as in citrus/lime.py of LIT 1.3 and in lime_text.py of lime 0.2 (``__data_labels_distances``).
    A mask that is drawn again is counted, not repeated: a text of T tokens has 2^T masks, so that
    of 5,000 samples of 8 tokens 255 are left to compute.

    Args:
        num_tokens: Tokens that may be hidden, at least 1.
        num_samples: Draws beside the whole text.
        seed: Of the draws.

    Returns:
        num_masks x num_tokens, true where the token is kept, all different, all true in row 0;
        and num_masks counts, which sum to num_samples + 1.
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
    """Every mask, counted as often as :func:`draw_masks` draws it on average.

    Of T tokens k are hidden with probability 1/T, k = 1 ... T, which is shared by C(T, k) masks.
    What is left out is the chance of drawing; the ridge penalty weighs as with drawn masks.

    Args:
        num_tokens: T, at most :data:`MOST_ENUMERATED`.
        num_samples: Draws that the counts add up to, beside the whole text.

    Returns:
        As :func:`draw_masks`; 2^T masks, fractional counts.
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
    """Texts with the replacement in the place of hidden tokens.

    Args:
        token_ids: num_texts x length.
        positions: num_texts x num_tokens, where the tokens that may be hidden stand.
        kept: num_texts x num_masks x num_tokens.
        replacement: A token id.

    Returns:
        num_texts x num_masks x length.
    """
    num_texts, num_masks, _ = kept.shape
    everything = np.ones((num_texts, num_masks, token_ids.shape[1]), dtype=bool)
    np.put_along_axis(everything, positions[:, None, :].repeat(num_masks, 1), kept, axis=2)
    return np.where(everything, token_ids[:, None, :], replacement)


def predict_masked(
    predict: Predict,
    token_ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    kept: NDArray[np.bool_],
    replacement: int | None,
) -> NDArray[np.float64]:
    """What the classifier says of masked texts.

    Args:
        predict: The classifier.
        token_ids: num_texts x length.
        positions: num_texts x num_tokens, as :func:`hide` has them.
        kept: num_texts x num_masks x num_tokens.
        replacement: Token id that stands for a hidden token; None: it is deleted.

    Returns:
        num_texts x num_masks probabilities of class 1.

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
    """Scores of rows without their entries -1, rows of one length together."""
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
