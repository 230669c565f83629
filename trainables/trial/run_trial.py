"""run_trial: train and test one spec, and return its result. It does not use Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.trial import explain_trial
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.head import init_head
from xlt.trainables.loading.tokenize import count_truncated, encode
from xlt.trainables.methods.registry import build_classifier
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import KeepModels, keeps_model
from xlt.trainables.spec.row_weights import weigh_rows
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import (
    Checkpoints,
    PreemptedError,
)
from xlt.trainables.training.classification import DevRows, FitResult
from xlt.trainables.training.loop import Report, choose_base_dtype, predict
from xlt.trainables.training.watchdog import call_at_heartbeats
from xlt.trainables.training.workers import Workers
from xlt.trainables.trial.clock import Clock
from xlt.trainables.trial.first_stage_kept import KeptFirstStage
from xlt.trainables.trial.fit_stages import (
    fit_stages,
    join_history,
    join_scores,
    measure_stages,
    seed_dropout,
)
from xlt.trainables.trial.model_files import make_model_files
from xlt.trainables.trial.rows import (
    draw_rows,
    draw_stopping_rows,
    make_predictions,
    make_train_rows,
    score_languages,
)
from xlt.trainables.trial.run_baseline import run_baseline
from xlt.trainables.trial.signature import make_signature


def run_trial(
    spec: TrialSpec,
    dataset: Dataset,
    *,
    report: Report = lambda step, num_steps, loss: None,
    keep_models: KeepModels = "none",
    explain: Explain | None = None,
    checkpoints: Checkpoints | None = None,
    first_stage: KeptFirstStage | None = None,
) -> TrialResult:
    """Train and test one base model on one pattern with one seed.

    Args:
        spec: Spec of the trial.
        dataset: Data set whose fingerprint is ``spec.data_fingerprint``.
        report: Function that receives (step, num_steps, loss) during training.
        keep_models: Weights in the result: none, adapters (of LoRA trials), or all. ``best`` keeps
            all, because a trial does not know whether it is the best of its cell.
        explain: Settings for explaining test rows; None disables explanations.
        checkpoints: Where checkpoints are written and resumed from; None disables them.
        first_stage: Trial that may have kept the model of the first of two stages; None: none.

    With several workers (workers.py) each worker calls this and gets the result.

    Returns:
        The result, scored on the test rows, or on dev rows with ``spec.dev``. On a CPU an equal
        spec gives equal bytes, whatever ran before in the process.

    Raises:
        InputError: The data set is wrong, it has too few rows, or the base model cannot be loaded.
        DivergedError: The loss or a score became nan or infinite.
        PreemptedError: The process must exit; the trial can resume from its checkpoint. A baseline
            has none and starts again.
    """
    if spec.is_baseline:

        def stop_if_preempted() -> None:
            if checkpoints and checkpoints.preempted():
                raise PreemptedError(0)

        with call_at_heartbeats(stop_if_preempted):
            return run_baseline(spec, dataset, explain)
    if spec.mean_of:
        raise InputError(f"{spec.trial_id} is a mean of trials, which average_seeds computes")
    trial = prepare_trial(spec, dataset)
    fitted = fit_stages(trial, report, checkpoints, first_stage)
    trial.clock.lap("fit")
    return finish_trial(trial, fitted, keep_models, explain, checkpoints)


@dataclass
class PreparedTrial:
    """A trial that is ready to train.

    Attributes:
        spec: Spec of the trial.
        train: Training rows.
        test: Rows that the trial is scored on.
        classes: Names of the classes.
        base: Loaded base model.
        model: Classifier to train, which belongs to this trial.
        train_ids: Token ids of each training row.
        test_ids: Token ids of each test row.
        workers: Workers that train the trial together.
        device: Device of the training.
        clock: Clock of the stages.
        row_weights: Weight of each training row in the loss; None: the plain mean over rows.
        dev: Rows on which early stopping scores the model; None without early stopping.
    """

    spec: TrialSpec
    train: pa.Table
    test: pa.Table
    classes: tuple[str, ...]
    base: Base
    model: Any
    train_ids: list[list[int]]
    test_ids: list[list[int]]
    workers: Workers
    device: torch.device
    clock: Clock
    row_weights: list[float] | None = None
    dev: DevRows | None = None

    @property
    def labels(self) -> list[int]:
        """Class of each training row."""
        labels: list[int] = self.train["label"].to_pylist()
        return labels


def prepare_trial(spec: TrialSpec, dataset: Dataset) -> PreparedTrial:
    """Draw rows, load, tokenise and build; arguments and errors as :func:`run_trial`.

    At the end the global random generators are seeded for dropout.
    """
    clock = Clock()
    workers = Workers.current()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    torch.set_num_threads(spec.resources.cpus)

    train, test = draw_rows(dataset, spec)
    clock.lap("draw")

    # A model for several GPUs is loaded on the CPU, and sharding moves a share to each GPU.
    is_sharded = workers.size > 1 and spec.resources.is_sharded
    load_device = torch.device("cpu") if is_sharded else device
    base = load_base(spec, load_device, choose_base_dtype(spec, device), len(dataset.classes))
    clock.lap("load")

    max_length = spec.training.max_length
    train_ids = encode(base, train, max_length)
    test_ids = encode(base, test, max_length)
    dev = None
    if (dev_rows := draw_stopping_rows(dataset, spec)) is not None:
        dev = DevRows(encode(base, dev_rows, max_length), dev_rows["label"].to_pylist())
    elif spec.training.early_stopping:  # a trial of a search is scored on dev rows
        dev = DevRows(test_ids, test["label"].to_pylist())
    clock.lap("encode")

    # Seed here and not earlier: loading draws random numbers too, and a warm process skips it.
    torch.manual_seed(derive_seed(spec.init_seed, "adapters"))
    init_head(base.model, base.head_modules, derive_seed(spec.init_seed, "head"))
    model = build_classifier(base, spec)
    clock.lap("build")
    seed_dropout(spec, workers)
    weights = weigh_rows(spec, train, dataset.classes)
    return PreparedTrial(
        spec,
        train,
        test,
        dataset.classes,
        base,
        model,
        train_ids,
        test_ids,
        workers,
        device,
        clock,
        None if weights is None else weights.tolist(),
        dev,
    )


def finish_trial(
    trial: PreparedTrial,
    fitted: FitResult,
    keep_models: KeepModels,
    explain: Explain | None,
    checkpoints: Checkpoints | None,
) -> TrialResult:
    """Score a trained trial and make its result; arguments as :func:`run_trial`.

    Raises:
        DivergedError: A score is nan or infinite.
    """
    spec, base, model, workers = trial.spec, trial.base, trial.model, trial.workers
    y_score = predict(model, trial.test_ids, spec, workers=workers)
    trial.clock.lap("predict")
    metrics, by_lang = score_languages(spec, trial.test, y_score)
    max_length, kept = spec.training.max_length, {}
    if keeps_model(keep_models, spec.method):
        kept = make_model_files(model, base.tokenizer, trial.classes, max_length, workers)
    explained = explain if workers.is_first else None
    attributions = (
        explain_trial(model, base, spec, trial.test, trial.classes, explained)
        if explained
        else None
    )
    rows = trial.train, trial.test
    num_truncated = [count_truncated(base, table, max_length) for table in rows]
    return TrialResult(
        spec=spec,
        metrics=metrics,
        metrics_by_lang=by_lang,
        signature=make_signature(spec, base, trial.device),
        timings=trial.clock.seconds,
        execution=_describe_execution(fitted, workers, trial.device, checkpoints)
        | {
            "keep_models": keep_models,
            "attention": base.model.config._attn_implementation,
            "pad_token": base.tokenizer.pad_token,
            "truncated_texts": dict(zip(("train", "test"), num_truncated, strict=True)),
        },
        convergence=measure_stages(trial, fitted) | fitted.stopped,
        predictions=make_predictions(spec, trial.test, y_score),
        history=join_history(fitted),
        train_rows=make_train_rows(trial.train, join_scores(trial, fitted)),
        model=kept,
        attributions=attributions,
    )


def _describe_execution(
    fitted: FitResult, workers: Workers, device: torch.device, checkpoints: Checkpoints | None
) -> dict[str, Any]:
    """Describe how the trial was computed, as far as the spec does not say so."""
    cuda, first = device.type == "cuda", fitted.first_stage
    counts = zip(fitted.num_places, first.num_places if first else (0, 0), strict=True)
    num_places, num_tokens = map(sum, counts)
    described = {
        "num_workers": workers.size,
        "packed": fitted.num_packed,
        "padding_share": round(1 - num_tokens / num_places, 4) if num_places else 0.0,
        "micro_batch_size": fitted.micro_batch_size,
        "times_out_of_memory": fitted.num_halved,
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "resumed_at_steps": checkpoints.resumed_at if checkpoints else [],
        "checkpoint_error": checkpoints.unwritable if checkpoints else "",
        "not_resumed": checkpoints.not_resumed if checkpoints else "",
    }
    return described | ({"first_stage": first.describe()} if first else {})
