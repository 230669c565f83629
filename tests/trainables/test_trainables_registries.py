"""Contract tests of every entry of the registries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.metrics.metric import Metric
from xlt.trainables.metrics.registry import metrics_of
from xlt.trainables.models.base_models import (
    BASE_MODELS,
    LEARNING_RATE_OF,
    METHOD_OF,
    find_base_model,
)
from xlt.trainables.models.miniatures import MINIATURES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]


@pytest.mark.parametrize("name", BASE_MODELS)
def test_base_model(name: str) -> None:
    model = BASE_MODELS[name]
    assert model.name == name == model.name.strip()
    assert model.kind and METHOD_OF[model.kind] in METHODS
    assert 0 < LEARNING_RATE_OF[METHOD_OF[model.kind]] < 1
    assert model.size
    assert model.languages is None or all(model.knows(lang) for lang in model.languages)
    assert find_base_model(name) is model
    if model.miniature:
        assert model.miniature in MINIATURES
        assert model.revision is None
    else:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.path), "a hub id"
        assert model.revision is None or re.fullmatch(r"[0-9a-f]{40}", model.revision), "a commit"


def test_base_models_have_paths_of_their_own() -> None:
    paths = [model.path for model in BASE_MODELS.values()]
    assert len(set(paths)) == len(paths)


def test_an_unknown_base_model_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'mini-elyza'\? Known: bert-ja, "):
        find_base_model("mini-elyzza")


@pytest.mark.parametrize(
    ("metric", "num_classes"),
    [(metric, num_classes) for num_classes in (2, 3) for metric in metrics_of(num_classes)],
    ids=lambda value: value.name if isinstance(value, Metric) else str(value),
)
class TestMetric:
    rng = np.random.default_rng(3)

    def rows(self, num_classes: int) -> tuple[Labels, Scores, Scores]:
        """Labels, scores that say them exactly, and scores that know nothing."""
        y_true = self.rng.permutation(list(range(num_classes)) * 30).astype(np.int8)
        exact = np.eye(num_classes)[y_true]
        noise = self.rng.dirichlet(np.ones(num_classes), len(y_true))
        return y_true, *((s[:, 1] if num_classes == 2 else s) for s in (exact, noise))

    def test_perfect_scores_are_one(self, metric: Metric, num_classes: int) -> None:
        y_true, exact, _ = self.rows(num_classes)
        assert metric.compute(y_true, exact) == 1.0

    def test_a_fraction_of_one_as_a_python_float(self, metric: Metric, num_classes: int) -> None:
        y_true, _, noise = self.rows(num_classes)
        value = metric.compute(y_true, noise)
        assert type(value) is float
        assert 0 <= value <= 1

    def test_higher_is_better(self, metric: Metric, num_classes: int) -> None:
        y_true, exact, noise = self.rows(num_classes)
        # Every row says the next class.
        wrong = np.roll(exact, 1, axis=1) if exact.ndim == 2 else 1 - exact
        assert metric.compute(y_true, 0.6 * exact + 0.4 * noise) > metric.compute(
            y_true, 0.6 * wrong + 0.4 * noise
        )

    def test_the_order_of_rows_does_not_matter(self, metric: Metric, num_classes: int) -> None:
        y_true, _, noise = self.rows(num_classes)
        order = self.rng.permutation(len(y_true))
        assert metric.compute(y_true[order], noise[order]) == pytest.approx(
            metric.compute(y_true, noise)
        )


@pytest.mark.parametrize(
    ("method", "architecture"),
    [
        (method, architecture)
        for method in METHODS
        for architecture in ("llama", "bert", "gpt_neox")
        if (method, architecture) != ("bitfit", "llama")  # without biases
    ],
)
class TestMethod:
    settings: ClassVar[dict[str, dict[str, Any]]] = {"peft": {"peft": {"peft_type": "IA3"}}}

    def test_builds_a_trainable_classifier_of_its_own(
        self, method: str, architecture: str, make_spec: MakeSpec
    ) -> None:
        spec = make_spec(architecture, method=method, **self.settings.get(method, {}))
        base = load_base(spec, torch.device("cpu"), torch.float32)
        model = METHODS[method](base, spec)
        trained = {
            name.replace(".modules_to_save.default", "")
            for name, p in model.named_parameters()
            if p.requires_grad
        }
        for head in base.head_modules:
            assert any(head in name for name in trained), f"{head} is not trained"
        borrowed = {id(parameter) for parameter in base.model.parameters()}
        assert not any(id(p) in borrowed for p in model.parameters() if p.requires_grad)
        assert not set(model.modules()) & set(base.model.modules())

    def test_learns(
        self, method: str, architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset
    ) -> None:
        given = {"learning_rate": 1e-2, **self.settings.get(method, {})}
        spec = make_spec(architecture, method=method, **given)
        losses = run_trial(spec, tiny_dataset).history["loss"].to_pylist()
        assert np.ptp(losses) > 1e-3
