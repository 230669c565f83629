"""Score prompts with a language model: probabilities of the label words at the next token.

The score of a class is the log-probability of its label word's first token, as with lm-evaluation-
harness's multiple choice for words of one token, normalised over the label words. So a prompt takes
one forward pass and nothing is generated.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xlt.trainables.baselines.prompt_tokens import Prompts
from xlt.trainables.loading.base import Base
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import DivergedError, autocast, uses_bf16
from xlt.trainables.training.watchdog import heartbeat

BATCH_TOKENS = 1 << 12
"""Tokens of a batch, beginnings included, of which keys and values are in memory: 2 GiB for a
Llama-2 of 7B parameters in bf16."""


def shares_beginning(model_type: str) -> bool:
    """Return whether the common beginning of prompts is computed once.

    Tests hold this for listed architectures; others may keep a state that cannot be copied.
    """
    return model_type in ARCHITECTURES


def compute_probabilities(base: Base, prompts: Prompts, spec: TrialSpec) -> NDArray[np.float64]:
    """Compute the probabilities of the label words after each prompt.

    Args:
        base: Base model; its ``label_logits`` are the cache.
        prompts: Prompts.
        spec: Trial with precision and calibration.

    Returns:
        (num_test + num_train) x num_classes.

    Raises:
        DivergedError: A probability is not a number.
    """
    key = prompts.digest, uses_bf16(spec, base.model.device)
    if key not in base.label_logits:
        base.label_logits[key] = compute_label_logits(base.model, prompts, spec)
    probabilities: NDArray[np.float64] = (
        torch.from_numpy(base.label_logits[key]).softmax(-1).numpy()
    )
    if not np.isfinite(probabilities).all():
        raise DivergedError(
            "probabilities of label words are not numbers; set training.precision=fp32, or give "
            "another base model"
        )
    num_rows = prompts.num_test + prompts.num_train
    if len(probabilities) > num_rows:
        return calibrate(probabilities[:num_rows], probabilities[num_rows:])
    return probabilities


def calibrate(
    probabilities: NDArray[np.float64], content_free: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide probabilities by those of texts without content, and normalise them again.

    Source: Zhao et al. 2021 (arXiv 2102.09690), section 5: W is the inverse of the diagonal matrix
    of the mean probabilities, b is zero.

    Args:
        probabilities: num_rows x num_classes.
        content_free: num_content_free x num_classes.

    Returns:
        num_rows x num_classes.
    """
    divided = probabilities / content_free.mean(axis=0)
    calibrated: NDArray[np.float64] = divided / divided.sum(axis=1, keepdims=True)
    return calibrated


def compute_label_logits(model: Any, prompts: Prompts, spec: TrialSpec) -> NDArray[np.float64]:
    """Compute the logits of the label words' first tokens, num_prompts x num_classes.

    Prompts are padded on the right and read at their own last token, which no later token changes.
    """
    logits = np.empty(prompts.label_ids.shape)
    with torch.inference_mode(), autocast(spec, model.device):
        cache = compute_beginning(model, _to_tensor(model, [prompts.beginning]))
        for rows in list_batches(prompts):
            heartbeat()
            rests = [prompts.rests[row] for row in rows]
            places = torch.tensor([len(rest) - 1 for rest in rests], device=model.device)
            last = compute_last_logits(model, _to_tensor(model, rests), places, cache)
            label_ids = torch.from_numpy(prompts.label_ids[rows]).to(model.device)
            logits[rows] = last.gather(1, label_ids).double().cpu().numpy()
    return logits


def list_batches(prompts: Prompts) -> list[list[int]]:
    """List the prompts of each batch, shortest first, of at most :data:`BATCH_TOKENS` tokens."""
    batches: list[list[int]] = []
    for row in sorted(range(len(prompts.rests)), key=lambda row: len(prompts.rests[row])):
        longest = len(prompts.beginning) + len(prompts.rests[row])
        if not batches or (len(batches[-1]) + 1) * longest > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def compute_beginning(model: Any, ids: torch.Tensor) -> Any:
    """Compute keys and values of the common beginning, 1 x length; None without one."""
    if not ids.shape[1]:
        return None
    with _read_at(model, torch.zeros(1, dtype=torch.long, device=ids.device)):
        return model(input_ids=ids, use_cache=True).past_key_values


def compute_last_logits(
    model: Any, ids: torch.Tensor, places: torch.Tensor, beginning: Any
) -> torch.Tensor:
    """Compute the logits at one token of each row.

    Args:
        model: Language model.
        ids: num_rows x width token ids, padded on the right.
        places: num_rows places of the tokens to read.
        beginning: Keys and values of the tokens before all rows; None if there are none.

    Returns:
        num_rows x vocabulary, float32.
    """
    cache = copy.copy(beginning)
    if cache is not None:  # the model appends to the layers, which must stay as they are
        cache.layers = [copy.copy(layer) for layer in beginning.layers]
        cache.batch_repeat_interleave(len(ids))
    with _read_at(model, places):
        output = model(input_ids=ids, past_key_values=cache, use_cache=False)
    logits: torch.Tensor = output.logits[:, 0].float()
    return logits


@contextmanager
def _read_at(model: Any, places: torch.Tensor) -> Iterator[None]:
    """Make a model compute logits at one token of each row: num_rows x 1 x vocabulary.

    Logits of all tokens would take more memory than the model, and ``logits_to_keep`` of
    transformers keeps the same places of every row.
    """

    def keep(module: Any, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        hidden = arguments[0]
        rows = torch.arange(len(hidden), device=hidden.device)
        return (hidden[rows, places.to(hidden.device)][:, None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def _to_tensor(model: Any, rows: Sequence[NDArray[np.int64]]) -> torch.Tensor:
    """Make num_rows x longest token ids; padding comes after what is read, so any id serves."""
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded).to(model.device)
