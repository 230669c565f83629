"""Dry run: count a trial's memory and operations from its base model's config, without weights.

The classifier is built and trained for one optimiser step with tensors that have shapes and types
but no content (FakeTensorMode of PyTorch), and every storage is counted while it lives. The code
that will run thus says which tensors the backward pass keeps, and no formula is needed for each
architecture, method and setting. A 7B model takes seconds.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from xlt.data.core.errors import InputError
from xlt.trainables.baselines.prompt_scores import compute_beginning, compute_last_logits
from xlt.trainables.estimates.allocations import Allocations, Moved, move_to_cpu
from xlt.trainables.estimates.flops import Matrices, count_matrices, is_matrix
from xlt.trainables.estimates.known_values import KnownValues
from xlt.trainables.estimates.memory import Memory
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.kinds import get_auto_class
from xlt.trainables.methods.registry import build_classifier
from xlt.trainables.methods.used_rows import UsedRows, train_used_rows
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import EVAL_BATCH_SIZE, autocast, choose_base_dtype, uses_bf16

# If a model cannot run without content, one sentence is raised; hide this logger's traceback.
logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)

NF4_BYTES = 0.5 + 4 / 64
"""Bytes per parameter of a 4-bit base: half a byte, and one fp32 constant per block of 64
parameters (QLoRA, Dettmers et al. 2023, arXiv 2305.14314, sections 2 and 3)."""


class UncountedError(InputError):
    """A model that can be loaded, but whose code does not run on tensors without content."""


@dataclass(frozen=True)
class DryRun:
    """Counts of a dry run.

    Attributes:
        num_parameters: Number of parameters of the base model with a head.
        num_trained: Number of parameters that the method changes; every embedding row counts.
        matrices: Matrices that every token is multiplied by.
        memory: Peak memory of one process.
        num_calls: Number of operations that one micro-batch starts, forward and backward.
    """

    num_parameters: int
    num_trained: int
    matrices: Matrices
    memory: Memory
    num_calls: int


def dry_run(
    spec: TrialSpec,
    config: Any,
    *,
    device: str,
    rows: int,
    length: int,
    num_labels: int = 2,
    num_tokens: int | None = None,
    num_before: int = 0,
) -> DryRun:
    """Train one optimiser step and predict one batch, without content; a baseline only predicts.

    The step stands for any later step of a trial: the optimiser has its state, and with
    micro-batches the gradients of earlier ones exist.

    Args:
        spec: Method, precision, adapters, batch size and checkpointing.
        config: Config of the base model from :func:`load_config`; it is not changed.
        device: ``cpu`` or ``cuda``. Tensors are on the CPU in both cases. For ``cuda`` they have
            the data types of a GPU, and dropout of attention is off, because fused kernels keep no
            attention matrix for it.
        rows: Rows per micro-batch.
        length: Number of tokens of the longest row.
        num_labels: Number of classes of the head.
        num_tokens: Number of different tokens in the training rows, if only their embeddings are
            trained (:mod:`xlt.trainables.methods.used_rows`); None if all are.
        num_before: Number of tokens with which all prompts begin; ``length`` counts the others.

    Raises:
        InputError: The architecture has no class for the method, or the method cannot be applied
            to it.
        UncountedError: The model's code reads the content of tensors, or has an operation that only
            a GPU supports.
    """
    try:
        return _dry_run(spec, config, device, rows, length, num_labels, num_tokens, num_before)
    except (RuntimeError, AttributeError, AssertionError) as error:
        first_line = str(error).partition("\n")[0]
        raise UncountedError(
            f"base model {spec.base_model!r} cannot be counted: {first_line}"
        ) from error


def _dry_run(
    spec: TrialSpec,
    config: Any,
    device: str,
    rows: int,
    length: int,
    num_labels: int,
    num_tokens: int | None,
    num_before: int,
) -> DryRun:
    cpu = torch.device("cpu")
    config = _prepare_config(config, device, num_labels)
    # Set the precision of the real device, because tensors here are always on the CPU.
    precision = "bf16" if uses_bf16(spec, torch.device(device)) else "fp32"
    training = spec.training.model_copy(update={"precision": precision})
    spec = spec.model_copy(update={"training": training})
    with torch.device("meta"):
        base = _build_base(config, choose_base_dtype(spec, cpu), spec)
        model = base.model if spec.is_baseline else _build_classifier(base, spec)
        num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if num_tokens is not None:
            train_used_rows(model, base.model, [range(num_tokens)])
        restored_bytes = _count_restored_bytes(model, base.model)
        if spec.resources.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
    with FakeTensorMode(allow_non_fake_inputs=True), KnownValues(), Allocations() as live:
        moved: Moved = {}
        move_to_cpu(base.model, moved)
        base_bytes = live.bytes
        if model is not base.model:  # tensors that are moved twice count twice
            move_to_cpu(model, moved)
        built_bytes = live.bytes
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer_bytes, train_bytes, num_calls = 0, built_bytes, 0
        if not spec.is_baseline:
            optimizer_bytes = _train(model, trained, _make_batch(config, rows, length), spec, live)
            train_bytes, num_calls = live.peak, live.num_calls
        live.reset()
        model.eval()
        with torch.no_grad(), autocast(spec, cpu):
            if spec.prompt:
                num_calls = _predict_prompts(model, rows, length, num_before, live)
            else:
                rows = rows if spec.is_baseline else EVAL_BATCH_SIZE
                model(**_make_batch(config, rows, length))
        num_calls = num_calls or live.num_calls
    early = spec.training.early_stopping  # it predicts beside the optimiser's state
    gradient_bytes = sum(p.numel() * p.element_size() for p in trained)
    activation_bytes = train_bytes - built_bytes - gradient_bytes - optimizer_bytes
    if spec.training.has_stages:  # the second stage holds the embeddings after the first one
        activation_bytes += restored_bytes
    return DryRun(
        num_parameters=base.model.num_parameters(),
        num_trained=num_trained,
        matrices=count_matrices(model, base.head_modules, config),
        memory=Memory(
            base=base_bytes - _count_bytes_saved(spec, base.model),
            trained=built_bytes - base_bytes,
            gradients=gradient_bytes,
            optimizer=optimizer_bytes,
            activations=activation_bytes,
            prediction=live.peak - built_bytes + restored_bytes + (optimizer_bytes if early else 0),
            copies=gradient_bytes if early or spec.training.average else 0,
        ),
        num_calls=num_calls,
    )


def _build_classifier(base: Base, spec: TrialSpec) -> Any:
    """Build a classifier on a base without content; it is on the meta device.

    Some adapters of peft compute with numbers that they draw. These are then on the CPU, and peft
    moves the adapters to the device of the base, so the whole is never there with content.
    """
    try:
        return build_classifier(base, spec)
    except RuntimeError:
        if not spec.peft:
            raise
    with torch.device("cpu"):
        return build_classifier(base, spec)


def _predict_prompts(model: Any, rows: int, length: int, num_before: int, live: Allocations) -> int:
    """Compute the common beginning and a batch of prompts, and return the calls of the batch."""
    beginning = compute_beginning(model, torch.ones(1, num_before, dtype=torch.long))
    before = live.num_calls
    ids = torch.ones(rows, length, dtype=torch.long)
    compute_last_logits(model, ids, torch.zeros(rows, dtype=torch.long), beginning)
    return live.num_calls - before


def _count_restored_bytes(model: Any, base_model: Any) -> int:
    """Count the bytes of the embeddings that a model gets back after training."""
    if not isinstance(model.get_input_embeddings(), UsedRows):
        return 0
    weight = base_model.get_input_embeddings().weight
    return int(weight.numel() * weight.element_size())


def _train(
    model: Any,
    trained: list[torch.nn.Parameter],
    batch: dict[str, torch.Tensor],
    spec: TrialSpec,
    live: Allocations,
) -> int:
    """Run the last micro-batch of a later step, and return the bytes of the optimiser's state.

    The peak, and the calls of forward, backward and step, are left in ``live``.
    """
    rows = len(batch["input_ids"])
    y_true = torch.zeros(rows, dtype=torch.long)
    before = live.bytes
    optimizer = torch.optim.AdamW(trained, fused=True)
    _make_gradients(trained)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    optimizer_bytes = live.bytes - before
    if rows < spec.training.batch_size:  # the sum of the micro-batches before this one
        _make_gradients(trained)
    live.reset()
    model.train()
    with autocast(spec, torch.device("cpu")):
        logits = model(**batch).logits.float()
    torch.autograd.backward(torch.nn.functional.cross_entropy(logits, y_true))
    torch.nn.utils.clip_grad_norm_(trained, spec.training.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer_bytes


def _make_gradients(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)


def _prepare_config(config: Any, device: str, num_labels: int) -> Any:
    """Return a copy of the config with the settings that loading makes."""
    config = copy.deepcopy(config)
    config.num_labels = num_labels
    config.use_cache = False
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    if device == "cuda":
        for name in ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop"):
            if getattr(config, name, None):
                setattr(config, name, 0.0)
    return config


def _build_base(config: Any, dtype: torch.dtype, spec: TrialSpec) -> Base:
    try:
        model = get_auto_class(spec.method).from_config(config, dtype=dtype)
    except ValueError as error:
        missing = "language model" if spec.prompt else "sequence classifier"
        raise InputError(f"base model {spec.base_model!r}: no {missing}: {error}") from error
    model.requires_grad_(False)
    heads = tuple(
        child
        for child, module in model.named_children()
        if child != model.base_model_prefix and any(True for _ in module.parameters())
    )
    return Base(tokenizer=None, model=model, head_modules=heads)


def _make_batch(config: Any, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Make the tensors of a batch, as :func:`collate` does."""
    ids = torch.ones(rows, length, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if getattr(config, "type_vocab_size", 0) > 1:
        batch["token_type_ids"] = torch.zeros_like(ids)
    return batch


def _count_bytes_saved(spec: TrialSpec, model: Any) -> int:
    """Count the bytes that 4-bit weights save; bitsandbytes itself needs real weights to run."""
    if not spec.quantize_base:
        return 0
    weights: list[Any] = [m.weight for m in model.base_model.modules() if is_matrix(m)]
    return sum(round(w.numel() * (w.element_size() - NF4_BYTES)) for w in weights)
