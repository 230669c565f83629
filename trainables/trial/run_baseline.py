"""run_baseline: fit or prompt one baseline, test it, and return its result. It does not use Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines.embed import count_cut_texts
from xlt.trainables.baselines.logistic import Logistic, fit_logistic
from xlt.trainables.baselines.prompt_scores import compute_probabilities, shares_beginning
from xlt.trainables.baselines.prompt_texts import CONTENT_FREE
from xlt.trainables.baselines.prompt_tokens import describe_misfit, encode_prompts
from xlt.trainables.baselines.registry import FEATURES
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.tokenize import refuse_unknown_tokens
from xlt.trainables.metrics.arrays import select_scores
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import NO_HISTORY, choose_base_dtype
from xlt.trainables.trial.clock import Clock
from xlt.trainables.trial.rows import draw_rows, make_predictions, make_train_rows, score_languages
from xlt.trainables.trial.signature import make_signature

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class _Scored:
    """Scores of a baseline, in the form of :class:`TrialResult`.

    Attributes:
        test: Probabilities of the test rows.
        train: Probabilities of the training rows.
        execution: How they were computed.
    """

    test: Scores
    train: Scores
    execution: dict[str, Any]


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

    if spec.prompt:
        assert base is not None  # the method has a base model
        scored = _prompt(spec, base, dataset, train, test, clock)
    else:
        scored = _fit(spec, base, train, test, clock)
    reason = f"method {spec.method} has no classifier that reads tokens, so it cannot be explained"
    metrics, by_lang = score_languages(spec, test, scored.test)
    return TrialResult(
        spec=spec,
        metrics=metrics,
        metrics_by_lang=by_lang,
        signature=make_signature(spec, base, device),
        timings=clock.seconds,
        execution={"num_workers": 1, "keep_models": "none"}
        | scored.execution
        | _describe_base(base, device),
        convergence={},
        predictions=make_predictions(spec, test, scored.test),
        history=NO_HISTORY,
        train_rows=make_train_rows(train, scored.train),
        model={},
        attributions=Attributions(explain.resolved(), error=reason) if explain else None,
    )


def _fit(
    spec: TrialSpec, base: Base | None, train: pa.Table, test: pa.Table, clock: Clock
) -> _Scored:
    """Fit logistic regression to features."""
    fit_features = FEATURES[spec.method](spec, base)
    cut = {}
    if base:
        fit_features(train)(pa.concat_tables([train, test]))  # later calls find them in the cache
        numbers = count_cut_texts(base, train, spec), count_cut_texts(base, test, spec)
        cut = {"truncated_texts": dict(zip(("train", "test"), numbers, strict=True))}
    clock.lap("encode")

    # A fixed number of threads, because another number adds in another order.
    with threadpool_limits(1):
        logistic = fit_logistic(fit_features, train, spec.seed)
        clock.lap("fit")
        train_score, y_score = logistic.predict(train), logistic.predict(test)
    clock.lap("predict")
    return _Scored(y_score, train_score, _describe_fit(logistic) | cut)


def _prompt(
    spec: TrialSpec, base: Base, dataset: Dataset, train: pa.Table, test: pa.Table, clock: Clock
) -> _Scored:
    """Score label words after prompts; training rows are scored in the context that shows them.

    Raises:
        InputError: The prompts cannot be made, or are too long for the model.
    """
    shares = shares_beginning(base.model.config.model_type)
    try:
        prompts = encode_prompts(
            base.tokenizer, spec, dataset.classes, train, test, shares_beginning=shares
        )
        if misfit := describe_misfit(prompts, base.max_positions):
            raise InputError(misfit)
        encoded = [prompts.label_ids.ravel(), prompts.beginning, *prompts.rests]
        ids = [*test["id"].to_pylist(), *train["id"].to_pylist()]
        names = ["the label words", "the common beginning", *ids, *CONTENT_FREE]
        refuse_unknown_tokens(base, names[: len(encoded)], encoded)
    except InputError as error:
        raise InputError(error.problems, f"base model {spec.base_model!r}") from error
    clock.lap("encode")
    scores = select_scores(compute_probabilities(base, prompts, spec))
    clock.lap("predict")
    return _Scored(scores[: len(test)], scores[len(test) :], prompts.describe(base.tokenizer))


def _describe_fit(logistic: Logistic) -> dict[str, Any]:
    """Describe the choice of C and the solution."""
    return {
        "C": logistic.classifier.C,
        "dev_losses": {f"{c:g}": loss for c, loss in logistic.dev_losses.items()},
        "num_features": logistic.num_features,
        "solver_iterations": int(logistic.classifier.n_iter_.max()),
    }


def _describe_base(base: Base | None, device: torch.device) -> dict[str, Any]:
    """Describe the passes through the base model; empty without one."""
    if base is None:
        return {}
    cuda = device.type == "cuda"
    return {
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "attention": base.model.config._attn_implementation,
    }
