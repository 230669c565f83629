"""EXPLAINERS: methods that explain a classifier's probability, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xlt.data.core.registries import Registry
from xlt.trainables.explain.integrated_gradients import explain_integrated_gradients
from xlt.trainables.explain.lime import explain_lime
from xlt.trainables.explain.occlusion import explain_occlusion
from xlt.trainables.explain.target import Explanation, Group, Target
from xlt.trainables.spec.explain import EXPLAINER_GROUP

ExplainGroup = Callable[[Target, Group, Mapping[str, Any]], list[Explanation]]
_OWN: dict[str, ExplainGroup] = {
    "lime": lambda target, group, settings: explain_lime(
        target,
        group,
        masks=settings["masks"],
        num_samples=settings["num_samples"],
        kernel_width=settings["kernel_width"],
        alpha=settings["alpha"],
        seed=settings["seed"],
    ),
    "ig": lambda target, group, settings: explain_integrated_gradients(
        target, group, settings["num_steps"]
    ),
    "occlusion": lambda target, group, settings: explain_occlusion(target, group),
}


def _check_explainer(name: str, explain: Any) -> str:
    return "" if callable(explain) else "it is no function of a classifier, texts and settings"


EXPLAINERS = Registry[ExplainGroup](EXPLAINER_GROUP, _OWN, _check_explainer)
"""Method -> function of (classifier, texts of one length, resolved settings) that explains each
text.

:data:`METHOD_SETTINGS` lists the settings of each method.
"""
