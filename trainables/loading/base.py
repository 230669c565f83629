"""Load a base model once per process: tokenizer, weights and head, which no trial changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from xlt.data.core.errors import InputError
from xlt.trainables.loading.allocator import keep_freed_memory
from xlt.trainables.models.architectures import ARCHITECTURES, read_max_positions
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import find_loadable_folder
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.models.pad_token import set_pad_token
from xlt.trainables.models.weights_folder import check_files, read_config
from xlt.trainables.spec.trial_spec import TrialSpec

# Every trial needs a new head, so warnings about it and progress bars would only hide the log.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

CLASSIFIER = "ForSequenceClassification"
"""Suffix of a checkpoint's class name if the checkpoint is a fine-tuned classifier."""


@dataclass
class Base:
    """A loaded base model.

    Attributes:
        tokenizer: Tokenizer with a pad token that no text ends with.
        model: Classifier with the weights as loaded. Trials use it and leave it unchanged.
        head_modules: Names of the modules that the checkpoint lacks (the head). Every trial
            initialises them from its own seed.
        max_positions: Maximum number of tokens in a text; None means no limit.
        encodings: Cache of token ids: (data fingerprint, max_length) -> row id -> ids.
        truncated: Ids of the rows that were cut, under the same keys.
    """

    tokenizer: Any
    model: Any
    head_modules: tuple[str, ...]
    max_positions: int | None = None
    encodings: dict[tuple[str, int], dict[str, list[int]]] = field(default_factory=dict)
    truncated: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    @property
    def vocabulary(self) -> int:
        """Number of rows of the embedding matrix; every token id must be smaller."""
        rows: int = self.model.get_input_embeddings().weight.shape[0]
        return rows

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 (hex) over 1,024 evenly spaced values of every loaded tensor.

        The sample distinguishes two sets of weights and is cheap even for a 7B model.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name.rpartition(".")[0] in self.head_modules:
                continue
            flat = tensor.detach().flatten()
            sample = flat[:: max(1, flat.numel() // 1024)]
            digest.update(name.encode() + sample.float().cpu().numpy().tobytes())
        return digest.hexdigest()


_LOADED: dict[tuple[str, ...], Base] = {}
"""Loaded base model by its settings, at most one.

Trials are sorted by base model, so the next trial usually needs the same one.
"""


def load_base(
    spec: TrialSpec, device: torch.device, dtype: torch.dtype, num_labels: int = 2
) -> Base:
    """Return the base model of a trial, from memory if the last trial of this process used it too.

    Args:
        spec: Trial whose base model is loaded; ``base_path`` is a hub id or an absolute folder.
        device: Device that holds the weights.
        dtype: Data type of the weights; for 4-bit weights, the type of the computations.
        num_labels: Number of classes of the head.

    Raises:
        InputError: The model or its tokenizer cannot be read.
    """
    quantized = spec.lora.quantize_base if spec.lora else None
    key = tuple(
        map(str, (spec.base_identity, spec.pad_token, num_labels, device, dtype, quantized))
    )
    if key not in _LOADED:
        _LOADED.clear()  # frees the previous base model before this one is loaded
        try:
            _LOADED[key] = _load(spec, device, dtype, num_labels)
        except InputError as error:
            raise InputError(error.problems, f"base model {spec.base_model!r}") from error
    return _LOADED[key]


def _load(spec: TrialSpec, device: torch.device, dtype: torch.dtype, num_labels: int) -> Base:
    folder = _find_folder(spec)
    if device.type == "cpu":
        keep_freed_memory()
    config = read_config(folder)
    check_files(folder)
    if config["model_type"] not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise InputError(
            f"transformers has no sequence classifier for model type {config['model_type']!r}; "
            f"give a model of another type, such as {', '.join(sorted(ARCHITECTURES))}"
        )
    options = {"num_labels": num_labels, "dtype": dtype}
    if spec.lora and spec.lora.quantize_base:
        options |= _make_4_bit_options(folder, device, dtype)
    # The head may have another number of labels. _find_head_modules refuses other shapes.
    is_classifier = any(str(n).endswith(CLASSIFIER) for n in config.get("architectures") or ())
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=is_classifier,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(f"cannot be loaded from {str(folder)!r}: {error}") from error
    head = _find_head_modules(model, info["missing_keys"], info["mismatched_keys"], is_classifier)
    set_pad_token(tokenizer, model, spec.pad_token)
    # BERT adds an embedding that says which text of a pair a token belongs to; decoders do not.
    has_token_types = getattr(model.config, "type_vocab_size", 0) > 1
    model.config.sep_token_id = tokenizer.sep_token_id if has_token_types else None
    model.config.use_cache = False  # cached keys and values serve text generation only
    if "quantization_config" not in options:
        model.to(device)
    model.eval().requires_grad_(False)
    base = Base(tokenizer, model, head, read_max_positions(config))
    _refuse_wrong_tokenizer(base)
    return base


def _make_4_bit_options(folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Make options of ``from_pretrained`` for NF4 weights with quantised constants, as in QLoRA.

    Source: Dettmers et al. 2023, arXiv 2305.14314, sections 3 and 4. The head is not quantised,
    because it is trained.
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            "lora.quantize_base needs bitsandbytes, which is not installed; "
            "pip install 'xlt-sweep[quantized]' on every machine that runs trials"
        )
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(folder)
        skeleton = AutoModelForSequenceClassification.from_config(config)
    backbone = skeleton.base_model_prefix
    head = [name for name, _ in skeleton.named_children() if name != backbone]
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=[*head, f"{backbone}.pooler"],
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


def _find_head_modules(
    model: Any, missing: Iterable[str], mismatched: Iterable[Any], is_classifier: bool
) -> tuple[str, ...]:
    """Find the modules that every trial initialises: missing ones, and the head of a classifier.

    The head of a fine-tuned classifier was trained for other labels or on other rows. It is not
    knowledge of a language, so it is dropped even if its shape fits. In the backbone only a pooler
    may be missing: BERT has it inside the backbone, but only its sentence objective trains it.
    """
    backbone = f"{model.base_model_prefix}."
    lacking_keys = [*missing, *(key for key, *_ in mismatched)]
    in_backbone = [k for k in lacking_keys if k.startswith(backbone) and ".pooler." not in k]
    if in_backbone:
        raise InputError(
            f"the checkpoint lacks {len(in_backbone)} weights of the backbone or has them in "
            f"another shape, e.g. {min(in_backbone)}; with random weights in their place it would "
            "not be a base model; give a complete checkpoint of this architecture"
        )
    if is_classifier:
        lacking_keys += [key for key, _ in model.named_parameters() if not key.startswith(backbone)]
    return tuple(sorted({key.rpartition(".")[0] for key in lacking_keys}))


def _refuse_wrong_tokenizer(base: Base) -> None:
    """Raise InputError if the tokenizer does not fit the model; a few unused tokens are allowed."""
    size, rows = base.tokenizer.vocab_size, base.vocabulary
    if size > rows or base.tokenizer.pad_token_id >= rows:
        raise InputError(
            f"its tokenizer has {size:,} tokens and pads with id {base.tokenizer.pad_token_id:,}, "
            f"but the model has embeddings of {rows:,}; give the tokenizer that belongs to it, or "
            "another `pad_token`"
        )


def _find_folder(spec: TrialSpec) -> Path:
    """Return the folder to load from; a miniature lies in the cache of this machine."""
    if not spec.base_identity.startswith(MINIATURE):
        return find_loadable_folder(spec.base_path, spec.revision)
    folder = find_miniature_folder(spec.base_identity)
    if not folder.is_dir():
        raise InputError(
            f"its miniature is not in the cache, {str(folder)!r}; pre-train it first: `xlt run` "
            "does so, or call xlt.trainables.pretraining.pretrain"
        )
    return folder


def init_head(model: nn.Module, head_modules: tuple[str, ...], seed: int) -> None:
    """Initialise the head from a seed, independent of its current values.

    The rule is that of ``PreTrainedModel._init_weights`` in transformers (modeling_utils.py):
    matrices are drawn from N(0, initializer_range), biases are zero, and other modules call their
    own ``reset_parameters``.

    Args:
        model: Classifier.
        head_modules: Names of the modules to initialise.
        seed: Seed of the random values.
    """
    config: Any = model.config
    std = getattr(config, "initializer_range", None) or 0.02
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in head_modules:
            module = model.get_submodule(name)
            if isinstance(module, nn.Linear):
                weight = torch.empty(module.weight.shape).normal_(0.0, std, generator=generator)
                module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.zero_()
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()
