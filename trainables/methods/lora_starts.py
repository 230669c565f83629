"""Keep adapters that started with a part of the base model's weights, so that any base takes them.

PiSSA and OLoRA start with adapters B0 A0 and a base W - s B0 A0, with the scaling s. Training
changes the adapters to B A. The kept adapters are [B, -B0] and [A; A0] of twice the rank, whose
update s (B A - B0 A0) of the original W is the same function (Meng et al. 2024, arXiv 2404.02948,
appendix C). So they load on the base model as it is published, and no weights of it are kept.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from xlt.trainables.spec.trial_spec import TrialSpec

STARTED = "adapters_at_start"
"""Attribute of a classifier with its adapters before training, by the name of the parameter."""


def remember_start(model: Any) -> None:
    """Keep the adapters of a classifier as they are now, in the attribute :data:`STARTED`."""
    started = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }
    setattr(model, STARTED, started)


def give_back(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replace adapters by those of twice the rank that fit the original base model.

    Args:
        model: Classifier after :func:`remember_start`; weights of others are returned as they are.
        weights: Trained weights by name, on the CPU.
    """
    given = dict(weights)
    for name, start in getattr(model, STARTED, {}).items():
        is_first = ".lora_A." in name
        both = [weights[name], start.cpu() if is_first else -start.cpu()]
        given[name] = torch.cat(both, dim=0 if is_first else 1)
    return given


def double_rank(settings: dict[str, Any]) -> dict[str, Any]:
    """Change settings of LoRA to twice the rank with the same scaling, and a plain start."""
    factor = math.sqrt(2) if settings["use_rslora"] else 2
    return settings | {
        "r": 2 * settings["r"],
        "lora_alpha": factor * settings["lora_alpha"],
        "rank_pattern": {name: 2 * rank for name, rank in settings["rank_pattern"].items()},
        "alpha_pattern": {name: 2 * alpha for name, alpha in settings["alpha_pattern"].items()},
        "init_lora_weights": True,
    }


def as_kept(spec: TrialSpec) -> TrialSpec:
    """Return the spec from which the classifier of a trial's kept model is built."""
    if spec.lora is None or not spec.lora.takes_weights:
        return spec
    fields = {name: getattr(spec.lora, name) for name in type(spec.lora).model_fields}
    kept = spec.lora.model_copy(update=double_rank(fields))
    return spec.model_copy(update={"lora": kept})
