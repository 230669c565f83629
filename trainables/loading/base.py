"""Load a base model once a process: tokenizer, weights and a head, never changed by a trial."""

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
from xlt.trainables.models.architectures import ARCHITECTURES, max_positions
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import loadable_folder
from xlt.trainables.models.miniatures import miniature_folder
from xlt.trainables.models.pad_token import set_pad_token
from xlt.trainables.models.weights_folder import check_files, read_config
from xlt.trainables.spec.trial_spec import TrialSpec

# A new head is what every trial wants; the report and bars about it would bury the sweep's lines.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

CLASSIFIER = "ForSequenceClassification"
"""How the class of a checkpoint ends that was fine-tuned before."""


@dataclass
class Base:
    """A loaded base model.

    Attributes:
        tokenizer: With a pad token that ends no text.
        model: The classifier, weights as loaded; trials borrow it and give it back unchanged.
        head_modules: Names of the modules that the checkpoint does not have (the head), which
            every trial initialises from its own seed.
        max_positions: Tokens of the longest text; None: no limit.
        encodings: Token ids by (data fingerprint, max_length) and row id.
        truncated: Ids of the rows that were cut, by the same.
    """

    tokenizer: Any
    model: Any
    head_modules: tuple[str, ...]
    max_positions: int | None = None
    encodings: dict[tuple[str, int], dict[str, list[int]]] = field(default_factory=dict)
    truncated: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: token ids lie below it."""
        rows: int = self.model.get_input_embeddings().weight.shape[0]
        return rows

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 (hex) over 1,024 evenly spaced values of every loaded tensor.

        Enough to tell two sets of weights apart, and cheap for a 7B model.
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
"""At most one entry: trials are sorted by base model, so the next one mostly needs the same."""


def load_base(
    spec: TrialSpec, device: torch.device, dtype: torch.dtype, num_labels: int = 2
) -> Base:
    """The base model of a trial, from this process's memory if the last trial had the same.

    Args:
        spec: Names the base model; ``base_path`` is a hub id or an absolute folder.
        device: Where the weights go.
        dtype: Type of the weights, or what 4-bit weights are computed in.
        num_labels: Classes of the head.

    Raises:
        InputError: The model or its tokenizer cannot be read.
    """
    quantized = spec.lora.quantize_base if spec.lora else None
    key = tuple(
        map(str, (spec.base_identity, spec.pad_token, num_labels, device, dtype, quantized))
    )
    if key not in _LOADED:
        _LOADED.clear()  # frees the other base before this one is loaded
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
    # Another number of labels is the head's own; what else differs in shape is told below.
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
    # BERT adds an embedding of which text of a pair a token belongs to; decoders do not.
    typed = getattr(model.config, "type_vocab_size", 0) > 1
    model.config.sep_token_id = tokenizer.sep_token_id if typed else None
    model.config.use_cache = False  # keys and values are for generating text
    if "quantization_config" not in options:
        model.to(device)
    model.eval().requires_grad_(False)
    base = Base(tokenizer, model, head, max_positions(config))
    _refuse_wrong_tokenizer(base)
    return base


def _make_4_bit_options(folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Options of ``from_pretrained`` for NF4 weights with quantised constants, as in QLoRA.

    Dettmers et al. 2023, arXiv 2305.14314, sections 3 and 4. The head is not quantised: it is
    trained.
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
    """Modules that every trial draws anew: those that the checkpoint lacks, and a trained head.

    A head that was fine-tuned for other labels, or for the same on other rows, is no part of what
    a base model knows of a language; so a classifier's head is dropped whatever its size. Of the
    backbone nothing may be missing but a pooler: it stands inside BERT's, but only its sentence
    objective trains it.
    """
    backbone = f"{model.base_model_prefix}."
    lacking = [*missing, *(key for key, *_ in mismatched)]
    inside = [k for k in lacking if k.startswith(backbone) and ".pooler." not in k]
    if inside:
        raise InputError(
            f"the checkpoint lacks {len(inside)} weights of the backbone or has them in another "
            f"shape, e.g. {min(inside)}; random ones in their place would be no base model; "
            "give a complete checkpoint of this architecture"
        )
    if is_classifier:
        lacking += [key for key, _ in model.named_parameters() if not key.startswith(backbone)]
    return tuple(sorted({key.rpartition(".")[0] for key in lacking}))


def _refuse_wrong_tokenizer(base: Base) -> None:
    """Refuse a tokenizer that is not the model's own; a few added tokens may go unused."""
    size, rows = base.tokenizer.vocab_size, base.vocabulary
    if size > rows or base.tokenizer.pad_token_id >= rows:
        raise InputError(
            f"its tokenizer has {size:,} tokens and pads with id {base.tokenizer.pad_token_id:,}, "
            f"but the model has embeddings of {rows:,}; give the tokenizer that belongs to it, or "
            "another `pad_token`"
        )


def _find_folder(spec: TrialSpec) -> Path:
    """The folder to load from; a miniature lies in this machine's cache."""
    if not spec.base_identity.startswith(MINIATURE):
        return loadable_folder(spec.base_path, spec.revision)
    folder = miniature_folder(spec.base_identity)
    if not folder.is_dir():
        raise InputError(
            f"its miniature is not in the cache, {str(folder)!r}; pre-train it first: `xlt run` "
            "does so, or call xlt.trainables.pretraining.pretrain"
        )
    return folder


def init_head(model: nn.Module, head_modules: tuple[str, ...], seed: int) -> None:
    """Initialise the head from a seed, whatever it held before.

    The rule is that of ``PreTrainedModel._init_weights`` in transformers (modeling_utils.py):
    matrices from N(0, initializer_range), biases zero; other modules by their own reset.

    Args:
        model: The classifier.
        head_modules: Names of its modules to initialise.
        seed: Of the draw.
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
