"""Floating-point operations of a trial, counted from sizes.

Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: a forward pass takes two operations (multiply,
add) for each parameter of a matrix and token, a backward pass twice as many, one half for the
gradients of activations and one for those of weights. Frozen matrices need only the first half.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Matrices:
    """What every token of a text is multiplied with.

    Attributes:
        num_frozen: Parameters of frozen matrices; embeddings are looked up and do not count, and
            weights that layers share (ALBERT's) count once.
        num_trained: Parameters of trained matrices.
        num_layers: Attention layers.
        attention_width: Heads times width of a head.
    """

    num_frozen: int
    num_trained: int
    num_layers: int
    attention_width: int


def count_prediction_flops(matrices: Matrices, lengths: Iterable[int]) -> int:
    """Operations of a forward pass over texts.

    Args:
        matrices: Of the classifier.
        lengths: Tokens of each text, with padding where it has any.

    Returns:
        ``2 N`` a token, and ``4 * layers * width * length^2`` a text for scores and mixtures of
        attention: every pair of tokens, as torch.utils.flop_counter counts, causal or not.
    """
    known = list(lengths)
    matrix = 2 * (matrices.num_frozen + matrices.num_trained) * sum(known)
    return matrix + _count_attention(matrices, known)


def count_training_flops(
    matrices: Matrices, lengths: Iterable[int], *, gradient_checkpointing: bool = False
) -> int:
    """Operations of a forward and a backward pass over texts.

    Args:
        matrices: Of the classifier.
        lengths: Tokens of each text, with padding where it has any.
        gradient_checkpointing: Whether activations are computed a second time.

    Returns:
        ``6 N`` a token for trained matrices, ``4 N`` for frozen ones, three times the attention
        of a prediction; and a prediction once more with checkpointing, which is at most a tenth
        too much: torch leaves out the last product of each layer.
    """
    known = list(lengths)
    matrix = (4 * matrices.num_frozen + 6 * matrices.num_trained) * sum(known)
    again = count_prediction_flops(matrices, known) if gradient_checkpointing else 0
    return matrix + 3 * _count_attention(matrices, known) + again


def _count_attention(matrices: Matrices, lengths: list[int]) -> int:
    pairs = sum(length * length for length in lengths)
    return 4 * matrices.num_layers * matrices.attention_width * pairs
