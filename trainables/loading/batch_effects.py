"""Check that a classifier scores a text the same alone, padded, and beside a longer text.

The contract tests check this for every architecture in ``ARCHITECTURES``. Other architectures may
read padding as text (YOSO), or classify by a position that padding on the right moves (XLNet).
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import torch

from xlt.data.core.errors import InputError
from xlt.trainables.loading.batching import collate_for

SHORT_TEXTS = ("text", "a text of words")
LONG_TEXT = " ".join(ascii_lowercase) * 2
"""A text of about 50 tokens."""
MAX_TOKENS = 64
"""Number of tokens to which the long text is cut."""
TOLERANCE, LOW_TOLERANCE = 1e-4, 0.2
"""Largest difference of logits in fp32, and in bf16 or with 4-bit weights, relative to the largest
logit. Rounding depends on the shape of a batch: in fp32 by up to 4.4e-6, in bf16 by up to 0.057
(random models of 35 architectures and of 32 layers, and three pre-trained models of up to 30
layers). Padding that is read as text gave 0.07 (ConvBERT, in fp32) to 0.7 (XLNet)."""
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""Errors that a model's code raises if it cannot compute a batch."""


def choose_padding_side(model: Any, tokenizer: Any, max_positions: int | None) -> str:
    """Choose the side of padding that does not change scores; sets ``config.padding_side``.

    Args:
        model: Classifier in eval mode with a pad token in its config; its head is not zero.
        tokenizer: Tokenizer of the model.
        max_positions: Maximum number of tokens in a text; None means no limit.

    Returns:
        ``right`` if it does not change scores, else ``left``.

    Raises:
        InputError: The model cannot compute a batch, or scores depend on padding on either side.
    """
    rows = _make_rows(tokenizer, max_positions)
    tolerance = get_tolerance(model)
    differences = {}
    for side in ("right", "left"):
        model.config.padding_side = side
        differences[side] = _measure_difference(model, rows)
        if differences[side] <= tolerance:
            return side
    name = model.config.model_type
    raise InputError(
        f"{name} scores a text differently alone and in a batch: logits differ by "
        f"{min(differences.values()):.0%} of the largest one, where rounding explains at most "
        f"{tolerance:.2%}; its predictions would depend on the other texts of a batch; give a base "
        "model of a listed architecture (docs/models.md)"
    )


def depends_on_batch(model: Any, tokenizer: Any, max_positions: int | None) -> bool:
    """Return whether scores depend on other texts of a batch, with the padding of the config.

    Arguments and errors are those of :func:`choose_padding_side`.
    """
    return _measure_difference(model, _make_rows(tokenizer, max_positions)) > get_tolerance(model)


def get_tolerance(model: Any) -> float:
    """Return the largest difference that rounding explains, relative to the largest logit."""
    low = model.dtype != torch.float32 or getattr(model, "is_quantized", False)
    return LOW_TOLERANCE if low else TOLERANCE


def describe_fault(model: Any, error: Exception) -> str:
    """Message for a model whose code fails on a batch with one of :data:`FAULTS`."""
    first_line = str(error).partition("\n")[0]
    return (
        f"transformers cannot compute a batch of {model.config.model_type!r}: {first_line}; "
        "give a base model of another architecture"
    )


def _make_rows(tokenizer: Any, max_positions: int | None) -> list[list[int]]:
    """Token ids of the short texts and, last, of the long one."""
    rows = tokenizer([*SHORT_TEXTS, LONG_TEXT], verbose=False)["input_ids"]
    longest = min(MAX_TOKENS, max_positions or MAX_TOKENS)
    return [ids[: longest // 2] for ids in rows[:-1]] + [rows[-1][:longest]]


def _measure_difference(model: Any, rows: list[list[int]]) -> float:
    """Largest difference between logits of a text alone and in a batch, over the largest logit."""
    short, long = rows[:-1], rows[-1]
    try:
        alone = torch.cat([_compute_logits(model, [ids]) for ids in rows])
        beside = _compute_logits(model, rows)
        padded = torch.cat([_compute_logits(model, [ids, long])[:1] for ids in short])
    except torch.OutOfMemoryError:
        raise
    except FAULTS as error:
        raise InputError(describe_fault(model, error)) from error
    changes = [(beside - alone).abs().max(), (padded - alone[:-1]).abs().max()]
    return float(max(changes) / alone.abs().max())


def _compute_logits(model: Any, rows: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        logits: torch.Tensor = model(**collate_for(model, rows)).logits.float()
    return logits
