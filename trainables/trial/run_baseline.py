"""run_baseline: fit and test one baseline, and return its result. It does not use Ray."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines.embed import count_cut_texts
from xlt.trainables.baselines.logistic import Logistic, fit_logistic
from xlt.trainables.baselines.registry import FEATURES
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.metrics.registry import score
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import NO_HISTORY, choose_base_dtype
from xlt.trainables.trial.clock import Clock
from xlt.trainables.trial.rows import draw_rows, make_predictions, make_train_rows
from xlt.trainables.trial.signature import make_signature


def run_baseline(spec: TrialSpec, dataset: Dataset, explain: Explain | None) -> TrialResult:
    """Fit and test one baseline on one pattern with one seed; arguments as :func:`run_trial`.

    Returns:
        A result without training steps, convergence and weights. An explanation that is requested
        is the reason why there is none.
    """
    clock = Clock()
    uses_gpu = spec.has_base_model and torch.cuda.is_available()
    device = torch.device("cuda" if uses_gpu else "cpu")
    if uses_gpu:
        torch.cuda.reset_peak_memory_stats()
    torch.set_num_threads(spec.resources.cpus)
    train, test = draw_rows(dataset, spec)
    clock.lap("draw")

    base = None
    if spec.has_base_model:
        base = load_base(spec, device, choose_base_dtype(spec, device), len(dataset.classes))
    clock.lap("load")

    fit_features = FEATURES[spec.method](spec, base)
    if base:
        fit_features(train)(pa.concat_tables([train, test]))  # later calls find them in the cache
    clock.lap("encode")

    # A fixed number of threads, because another number adds in another order.
    with threadpool_limits(1):
        logistic = fit_logistic(fit_features, train, spec.seed)
        clock.lap("fit")
        train_score, y_score = logistic.predict(train), logistic.predict(test)
    clock.lap("predict")
    reason = f"method {spec.method} has no classifier that reads tokens, so it cannot be explained"
    return TrialResult(
        spec=spec,
        metrics=score(test["label"].to_numpy(), y_score),
        signature=make_signature(spec, base, device),
        timings=clock.seconds,
        execution=_describe_fit(logistic) | _describe_base(spec, base, device, train, test),
        convergence={},
        predictions=make_predictions(spec, test, y_score),
        history=NO_HISTORY,
        train_rows=make_train_rows(train, train_score),
        model={},
        attributions=Attributions(explain.resolved(), error=reason) if explain else None,
    )


def _describe_fit(logistic: Logistic) -> dict[str, Any]:
    """Describe the choice of C and the solution."""
    return {
        "num_workers": 1,
        "keep_models": "none",
        "C": logistic.classifier.C,
        "dev_losses": {f"{c:g}": loss for c, loss in logistic.dev_losses.items()},
        "num_features": logistic.num_features,
        "solver_iterations": int(logistic.classifier.n_iter_.max()),
    }


def _describe_base(
    spec: TrialSpec, base: Base | None, device: torch.device, train: pa.Table, test: pa.Table
) -> dict[str, Any]:
    """Describe the passes through the base model; empty without one."""
    if base is None:
        return {}
    cuda = device.type == "cuda"
    return {
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "attention": base.model.config._attn_implementation,
        "truncated_texts": {
            "train": count_cut_texts(base, train, spec),
            "test": count_cut_texts(base, test, spec),
        },
    }
