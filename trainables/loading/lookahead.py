"""Check that a language model does not read ahead, so that padding after a text changes nothing.

Prompts of different lengths are padded on the right and read at their own last token. This is exact
for every model whose state at a token depends only on the tokens up to it.
"""

from __future__ import annotations

from typing import Any

import torch

from xlt.data.core.errors import InputError
from xlt.trainables.loading.batch_effects import FAULTS, describe_fault, get_tolerance

NUM_TOKENS = 8
"""Number of tokens before and after the place where logits are compared."""


def refuse_lookahead(model: Any) -> None:
    """Raise InputError if logits at a token depend on later tokens, as those of XLNet do.

    Args:
        model: Language model in eval mode.
    """
    ids = torch.arange(1, 2 * NUM_TOKENS + 1, device=model.device)[None]
    try:
        with torch.inference_mode():
            alone = model(input_ids=ids[:, :NUM_TOKENS]).logits[0, -1].float()
            followed = model(input_ids=ids).logits[0, NUM_TOKENS - 1].float()
    except torch.OutOfMemoryError:
        raise
    except FAULTS as error:
        raise InputError(describe_fault(model, error)) from error
    difference = float((followed - alone).abs().max() / alone.abs().max())
    if difference > get_tolerance(model):
        raise InputError(
            f"{model.config.model_type} reads ahead: later tokens change the logits of earlier "
            f"ones by {difference:.0%} of the largest one; method prompt needs a language model "
            "that reads from left to right"
        )
