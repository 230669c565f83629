"""Load a base model once a process: tokenizer, weights and a head, never changed by a trial."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from data.errors import InputError
from trainables.allocator import keep_freed_memory
from trainables.base_models import MINIATURE
from trainables.miniatures import miniature_folder
from trainables.spec import TrialSpec

# A new head is what every trial wants; the report and bars about it would bury the sweep's lines.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


@dataclass
class Base:
    """A loaded base model.

    Attributes:
        tokenizer: A fast tokenizer with a pad token.
        model: The classifier, weights as loaded; trials borrow it and give it back unchanged.
        head_modules: Names of the modules that the checkpoint does not have (the head), which
            every trial initialises from its own seed.
        encodings: Token ids by (data fingerprint, max_length) and row id.
    """

    tokenizer: Any
    model: Any
    head_modules: tuple[str, ...]
    encodings: dict[tuple[str, int], dict[str, list[int]]] = field(default_factory=dict)

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


_LOADED: dict[tuple[str, int, str, str], Base] = {}
"""At most one entry: trials are sorted by base model, so the next one mostly needs the same."""


def load_base(
    spec: TrialSpec, device: torch.device, dtype: torch.dtype, num_labels: int = 2
) -> Base:
    """The base model of a trial, from this process's memory if the last trial had the same.

    Args:
        spec: Names the base model; ``base_path`` is a hub id or an absolute folder.
        device: Where the weights go.
        dtype: Type of the weights.
        num_labels: Classes of the head.

    Raises:
        InputError: The model or its tokenizer cannot be read.
    """
    key = (spec.base_identity, num_labels, str(device), str(dtype))
    if key not in _LOADED:
        _LOADED.clear()  # frees the other base before this one is loaded
        _LOADED[key] = _load(spec, device, dtype, num_labels)
    return _LOADED[key]


def _load(spec: TrialSpec, device: torch.device, dtype: torch.dtype, num_labels: int) -> Base:
    path = _locate(spec)
    if device.type == "cpu":
        keep_freed_memory()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=spec.revision)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path,
            revision=spec.revision,
            num_labels=num_labels,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(
            f"base model {spec.base_model!r} cannot be loaded from {path!r}: {error}"
        ) from error
    set_pad_token(tokenizer, model)
    # BERT adds an embedding of which text of a pair a token belongs to; decoders do not.
    typed = getattr(model.config, "type_vocab_size", 0) > 1
    model.config.sep_token_id = tokenizer.sep_token_id if typed else None
    model.config.use_cache = False  # keys and values are for generating text
    model.to(device).eval().requires_grad_(False)
    head = _head_modules(spec.base_model, model.base_model_prefix, info["missing_keys"])
    return Base(tokenizer=tokenizer, model=model, head_modules=head)


def _head_modules(name: str, backbone: str, missing: Iterable[str]) -> tuple[str, ...]:
    """Modules that the checkpoint lacks; a backbone's own may not be among them.

    A pooler may: it stands inside BERT's backbone, but only its sentence objective trains it.
    """
    inside = [k for k in missing if k.startswith(f"{backbone}.") and ".pooler." not in k]
    if inside:
        raise InputError(
            f"base model {name!r}: the checkpoint lacks {len(inside)} weights of the backbone, "
            f"e.g. {min(inside)}; random ones in their place would be no base model; "
            "give a complete checkpoint of this architecture"
        )
    return tuple(sorted({key.rpartition(".")[0] for key in missing}))


def _locate(spec: TrialSpec) -> str:
    """Hub id or folder to load from; a miniature lies in this machine's cache."""
    if not spec.base_identity.startswith(MINIATURE):
        return spec.base_path
    folder = miniature_folder(spec.base_identity)
    if not folder.is_dir():
        raise InputError(
            f"base model {spec.base_model!r}: its miniature is not in the cache, {str(folder)!r}; "
            "pre-train it first: `xlt run` does so, or call trainables.pretraining.pretrain"
        )
    return str(folder)


def set_pad_token(tokenizer: Any, model: Any) -> None:
    """Give tokenizer and config the same pad token.

    Decoder classifiers read the last token that differs from ``pad_token_id``, so a token that
    texts end with must not serve. Without a pad token the token that begins a text does: it
    never ends one, while the end-of-text token does in some vocabularies and the unknown token
    after a rare character. :func:`trainables.tokenize.encode` refuses a text that ends with it.
    """
    if tokenizer.pad_token is None:
        end = tokenizer("text")["input_ids"][-1]
        special = (tokenizer.bos_token, tokenizer.unk_token, tokenizer.eos_token)
        free = (t for t in special if t and tokenizer.convert_tokens_to_ids(t) != end)
        tokenizer.pad_token = next(free, None)
    if tokenizer.pad_token is None:
        raise InputError("the tokenizer has no special token to pad with; add a pad token to it")
    tokenizer.padding_side = "right"
    model.config.pad_token_id = tokenizer.pad_token_id


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
