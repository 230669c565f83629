"""Load a base model once per process: tokenizer, weights and head, which no trial changes."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from transformers import BitsAndBytesConfig

from xlt.data.core.errors import InputError
from xlt.trainables.loading.allocator import keep_freed_memory
from xlt.trainables.loading.batch_effects import choose_padding_side
from xlt.trainables.loading.config import RENAMED, load_config
from xlt.trainables.loading.head import find_head_modules, init_head, is_fine_tuned
from xlt.trainables.loading.kinds import get_auto_class, refuse_incomplete, refuse_other_types
from xlt.trainables.loading.lookahead import refuse_lookahead
from xlt.trainables.loading.tokenizer import load_tokenizer
from xlt.trainables.models.architectures import ARCHITECTURES, read_max_positions
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import find_loadable_folder
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.models.model_config import read_config
from xlt.trainables.models.pad_token import set_pad_token
from xlt.trainables.models.tokenizer_files import describe_too_many_tokens
from xlt.trainables.models.verified_files import verify_files
from xlt.trainables.models.weights_folder import check_files
from xlt.trainables.spec.trial_spec import TrialSpec

# bitsandbytes warns about a kernel that it would use if the package `kernels` were installed.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

Texts = tuple[str, str | None]
"""The text of a row, and the second text of a pair."""


@dataclass
class Base:
    """A loaded base model.

    Attributes:
        tokenizer: Tokenizer; for a classifier, with a pad token that no text ends with.
        model: Classifier, or language model for prompts, with the weights as loaded. Trials use it
            and leave it unchanged.
        head_modules: Names of the modules that the checkpoint lacks (the head). Every trial
            initialises them from its own seed.
        max_positions: Maximum number of tokens in a text; None means no limit.
        encodings: Cache of token ids: max_length -> texts of a row -> ids.
        truncated: Texts of the rows that were cut, by max_length.
        embeddings: Cache of mean-pooled embeddings: settings -> texts of a row -> hidden_size.
        label_logits: Cache of label words' logits by prompts and precision: num_prompts x
            num_classes.
    """

    tokenizer: Any
    model: Any
    head_modules: tuple[str, ...]
    max_positions: int | None = None
    encodings: dict[int, dict[Texts, list[int]]] = field(default_factory=dict)
    truncated: dict[int, set[Texts]] = field(default_factory=dict)
    embeddings: dict[tuple[object, ...], dict[Texts, NDArray[np.float32]]] = field(
        default_factory=dict
    )
    label_logits: dict[tuple[object, ...], NDArray[np.float64]] = field(default_factory=dict)

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
        return digest_weights(self)


_LOADED: dict[tuple[str, ...], Base] = {}
"""Loaded base model by its settings, at most one.

Trials are sorted by base model, so the next trial usually needs the same one.
"""


def digest_weights(base: Base) -> str:
    """Compute :attr:`Base.weights_digest` of the weights as they are now."""
    digest = hashlib.sha256()
    for name, tensor in sorted(base.model.state_dict().items()):
        if name.rpartition(".")[0] in base.head_modules:
            continue
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 1024)]
        digest.update(name.encode() + sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def forget_bases() -> None:
    """Load the next base model again, because this process has changed the loaded one."""
    _LOADED.clear()


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
    parts = spec.base_identity, spec.pad_token, num_labels, device, dtype, spec.quantize_base
    key = tuple(map(str, (*parts, get_auto_class(spec.method))))
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
    facts = read_config(folder)
    check_files(folder)
    verify_files(folder, spec.base_identity)
    auto_class = get_auto_class(spec.method)
    refuse_other_types(facts, spec.method)
    config = load_config(folder)
    config.num_labels = num_labels
    options: dict[str, Any] = {"dtype": dtype}
    if spec.quantize_base:
        options |= _make_4_bit_options(auto_class, config, device, dtype)
    tokenizer = load_tokenizer(folder)
    try:
        model, info = auto_class.from_pretrained(
            folder,
            config=config,
            key_mapping=RENAMED,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # of the head; find_head_modules refuses others
            output_loading_info=True,
            **options,
        )
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError
    ) as error:  # fmt: skip
        raise InputError(f"cannot be loaded from {str(folder)!r}: {error}") from error
    _refuse_without_embeddings(model)
    lacking = info["missing_keys"], info["mismatched_keys"]
    head: tuple[str, ...] = ()
    if spec.prompt:
        refuse_incomplete(*lacking)
    else:
        _keep_new_names(model)
        head = find_head_modules(model, *lacking, is_fine_tuned(facts.get("architectures") or ()))
        set_pad_token(tokenizer, model, spec.pad_token)
    has_token_types = getattr(model.config, "type_vocab_size", 0) > 1
    with suppress(StrictDataclassError):  # some configs allow no None; collate_for ignores theirs
        model.config.sep_token_id = tokenizer.sep_token_id if has_token_types else None
    model.config.use_cache = False  # only prompts and explanations ask for keys and values
    if "quantization_config" not in options:
        model.to(device)
    model.eval().requires_grad_(False)
    base = Base(tokenizer, model, head, read_max_positions(facts))
    _refuse_wrong_tokenizer(base)
    if facts["model_type"] in ARCHITECTURES:
        return base
    if spec.prompt:
        refuse_lookahead(model)
    else:
        init_head(model, head, seed=0)
        if choose_padding_side(model, tokenizer, base.max_positions) == "right":
            del model.config.padding_side  # the default, which config.json need not repeat
    return base


def _refuse_without_embeddings(model: Any) -> None:
    """Raise InputError if token ids do not select rows of one matrix, as in CANINE."""
    try:
        model.get_input_embeddings()
    except NotImplementedError as error:
        raise InputError(
            f"{model.config.model_type} has no embedding matrix of tokens; give a base model of "
            "another architecture"
        ) from error


def _keep_new_names(model: Any) -> None:
    """Save weights under the classifier's own names; transformers would restore the old ones."""
    conversions = getattr(model, "_weight_conversions", None) or []
    model._weight_conversions = [
        conversion for conversion in conversions if not {*conversion.source_patterns} & {*RENAMED}
    ]


def _make_4_bit_options(
    auto_class: Any, config: Any, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Make options of ``from_pretrained`` for NF4 weights with quantised constants, as in QLoRA.

    Source: Dettmers et al. 2023, arXiv 2305.14314, sections 3 and 4. The head is not quantised,
    because it is trained, or gives the scores.
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            "quantize_base needs bitsandbytes, which is not installed; "
            "pip install 'xlt-sweep[quantized]' on every machine that runs trials"
        )
    with torch.device("meta"):
        skeleton = auto_class.from_config(config)
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


def _refuse_wrong_tokenizer(base: Base) -> None:
    """Raise InputError if the tokenizer does not fit the model; a few unused tokens are allowed."""
    size, rows = base.tokenizer.vocab_size, base.vocabulary
    if size > rows:
        raise InputError(describe_too_many_tokens(size, rows))


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
