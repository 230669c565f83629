"""Count the floating-point operations of a trial from the sizes of its matrices and texts.

Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1. A forward pass takes two operations
(multiply, add) per matrix parameter and token. A backward pass takes twice as many: one half for
the gradients of activations and one half for those of weights. Frozen matrices need only the first
half.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MATRIX_MODULES = ("Linear", "Conv1D")
"""Class names of modules that multiply every token by a matrix; Conv1D is GPT-2's."""


@dataclass(frozen=True)
class Matrices:
    """Sizes of the matrices that every token of a text is multiplied by.

    Attributes:
        num_frozen: Parameters of frozen matrices. Embeddings are looked up and do not count;
            weights that layers share (ALBERT) count once.
        num_trained: Parameters of trained matrices.
        num_layers: Number of attention layers.
        attention_width: Number of heads times the width of a head.
    """

    num_frozen: int
    num_trained: int
    num_layers: int
    attention_width: int


def is_matrix(module: Any) -> bool:
    """Whether a module multiplies every token by a matrix."""
    return any(kind.__name__ in MATRIX_MODULES for kind in type(module).__mro__)


def count_matrices(model: Any, heads: tuple[str, ...], config: Any) -> Matrices:
    """Count the matrices of the backbone; the head and BERT's pooler see one token per row."""
    skipped = {*heads, "pooler"}
    weights: dict[int, Any] = {}  # by id: an adapter's module also lists the weight that it wraps
    for name, module in model.named_modules():
        if is_matrix(module) and not skipped & set(name.split(".")):
            weights[id(module.weight)] = module.weight
    sizes = {True: 0, False: 0}
    for weight in weights.values():
        sizes[weight.requires_grad] += weight.numel()
    num_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    return Matrices(sizes[False], sizes[True], config.num_hidden_layers, num_heads * width)


def count_prediction_flops(matrices: Matrices, lengths: Iterable[int], num_before: int = 0) -> int:
    """Count the operations of a forward pass over texts.

    Args:
        matrices: Matrices of the classifier.
        lengths: Number of tokens of each text, padding included.
        num_before: Number of tokens before each text whose keys and values are known. They are
            attended to, and not computed.

    Returns:
        ``2 N`` per token, and ``4 * layers * width * length^2`` per text for the scores and
        mixtures of attention. Every pair of tokens counts, causal or not, as in
        torch.utils.flop_counter.
    """
    token_counts = list(lengths)
    matrix = 2 * (matrices.num_frozen + matrices.num_trained) * sum(token_counts)
    before = 4 * matrices.num_layers * matrices.attention_width * num_before * sum(token_counts)
    return matrix + _count_attention(matrices, token_counts) + before


def count_training_flops(
    matrices: Matrices, lengths: Iterable[int], *, gradient_checkpointing: bool = False
) -> int:
    """Count the operations of a forward and a backward pass over texts.

    Args:
        matrices: Matrices of the classifier.
        lengths: Number of tokens of each text, padding included.
        gradient_checkpointing: Whether activations are computed a second time.

    Returns:
        ``6 N`` per token for trained matrices, ``4 N`` for frozen ones, and three times the
        attention of a prediction. Checkpointing adds one more prediction, which is at most a tenth
        too much, because torch leaves out the last product of each layer.
    """
    token_counts = list(lengths)
    matrix = (4 * matrices.num_frozen + 6 * matrices.num_trained) * sum(token_counts)
    repeated = count_prediction_flops(matrices, token_counts) if gradient_checkpointing else 0
    return matrix + 3 * _count_attention(matrices, token_counts) + repeated


def _count_attention(matrices: Matrices, lengths: list[int]) -> int:
    pairs = sum(length * length for length in lengths)
    return 4 * matrices.num_layers * matrices.attention_width * pairs
