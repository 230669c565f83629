"""A plug-in of each kind: base model, source, metric, method, explainer and launch file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from xlt.data.core.settings import Settings
from xlt.data.sources import synthetic
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Progress, Reading
from xlt.sweep.cluster import Template
from xlt.trainables.explain.target import Explanation, Group, Target
from xlt.trainables.metrics.metric import Metric
from xlt.trainables.models.base_models import BaseModel

MODEL = BaseModel(name="sample-bert", path="miniature:mini-mbert", kind="encoder", size="tiny")


class Options(SourceOptions):
    """Number of headlines in each language."""

    source: Literal["sample"] = "sample"
    rows: int = 400


def read(options: Options, progress: Progress) -> Reading:
    """Generate headlines."""
    numbers = {"num_source": options.rows, "num_target": options.rows}
    return synthetic.read(synthetic.Options(**numbers), progress)


METRIC = Metric(
    name="balanced",
    label="Balanced accuracy",
    definition="balanced accuracy; rows at probability >= 0.5 count as positive ({positive})",
    compute=lambda y_true, y_score: float(balanced_accuracy_score(y_true, y_score >= 0.5)),
)


def train_biases(base: Any, spec: Any) -> Any:
    """Train the biases and the head only (BitFit, Ben Zaken et al. 2022, arXiv 2106.10199)."""
    model = copy.deepcopy(base.model)
    for name, parameter in model.named_parameters():
        in_head = any(part in name.split(".") for part in base.head_modules)
        parameter.requires_grad_(in_head or name.endswith("bias"))
    return model


def explain_alone(target: Target, group: Group, settings: Mapping[str, Any]) -> list[Explanation]:
    """Explain texts by the score of each token alone."""
    num_texts, num_tokens = group.positions.shape
    masks = np.concatenate(
        [np.ones((1, num_tokens), bool), np.zeros((1, num_tokens), bool), np.eye(num_tokens) > 0]
    )
    scores = group.score_masked(target, np.broadcast_to(masks, (num_texts, *masks.shape)))
    return [
        Explanation(alone - none, np.zeros(num_tokens), none, float("nan"), whole, none)
        for whole, none, alone in zip(scores[:, 0], scores[:, 1], scores[:, 2:], strict=True)
    ]


class TemplateOptions(Settings):
    """Options of the launch file."""

    queue: str = "short"


TEMPLATE = Template("plain.txt.jinja", TemplateOptions, "sh FILE", "xlt_sample")
