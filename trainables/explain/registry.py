"""EXPLAINERS: methods that explain a classifier's probability, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xlt.trainables.explain.integrated_gradients import explain_integrated_gradients
from xlt.trainables.explain.lime import explain_lime
from xlt.trainables.explain.occlusion import explain_occlusion
from xlt.trainables.explain.target import Explanation, Group, Target

EXPLAINERS: dict[str, Callable[[Target, Group, Mapping[str, Any]], list[Explanation]]] = {
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
"""Method -> function of (classifier, texts of one length, resolved settings) that explains each
text.

:data:`METHOD_SETTINGS` lists the settings of each method.
"""
