"""The class of transformers with which a method reads a checkpoint, and checkpoints unfit for it.

Prompts need a language model. Every other method needs a classifier, whose head is initialised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from xlt.data.core.errors import InputError
from xlt.trainables.models.architectures import ARCHITECTURES, derive_kind, describe_encoder
from xlt.trainables.spec.methods import Method


def get_auto_class(method: Method) -> Any:
    """Return the class of transformers that loads a base model for a method."""
    return AutoModelForCausalLM if method == "prompt" else AutoModelForSequenceClassification


def refuse_other_types(facts: Mapping[str, Any], method: Method) -> None:
    """Raise InputError if transformers lacks the class of a method for a checkpoint.

    Args:
        facts: Content of config.json, see :func:`read_config`.
        method: Method of the trial.
    """
    model_type = facts["model_type"]
    is_prompted = method == "prompt"
    names = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if is_prompted:
        if derive_kind(facts) == "encoder":
            raise InputError(describe_encoder(model_type))
        names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if model_type not in names:
        missing = "language model" if is_prompted else "sequence classifier"
        listed = (n for n, a in ARCHITECTURES.items() if a.kind == "decoder" or not is_prompted)
        raise InputError(
            f"transformers has no {missing} for model type {model_type!r}; "
            f"give a model of another type, such as {', '.join(sorted(listed))}"
        )


def refuse_incomplete(missing: Collection[str], mismatched: Iterable[Any]) -> None:
    """Raise InputError if a checkpoint lacks weights of its language model.

    Args:
        missing: Names of the weights that the checkpoint lacks.
        mismatched: Tuples (name, ...) of the weights that have another shape.
    """
    lacking = sorted([*missing, *(name for name, *_ in mismatched)])
    if lacking:
        raise InputError(
            f"the checkpoint lacks {len(lacking)} weights of a language model, e.g. {lacking[0]}, "
            "so it cannot score label words; give a checkpoint with its output layer "
            "(...ForCausalLM), not one that was fine-tuned on labels"
        )
