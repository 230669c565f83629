"""fit_stages: train a prepared trial alone, in one stage or in two that follow each other.

Two stages are two trainings, each with its own rows, AdamW, schedule and random streams (Schmidt et
al. 2022, EMNLP main.736). The first one repeats a joint trial to the last bit, so it can be
replaced by the kept model of that trial (first_stage_kept.py).
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.trainables.methods.used_rows import (
    can_train_used_rows,
    restore_all_rows,
    train_used_rows,
)
from xlt.trainables.spec.row_weights import weigh_in_epoch, weigh_rows
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import FitResult, fit_classifier
from xlt.trainables.training.convergence import measure_convergence
from xlt.trainables.training.first_stage import FirstStage
from xlt.trainables.training.loop import Report
from xlt.trainables.training.workers import Workers
from xlt.trainables.trial.first_stage_kept import KeptFirstStage, take_first_stage

if TYPE_CHECKING:
    from xlt.trainables.trial.run_trial import PreparedTrial


def fit_stages(
    trial: PreparedTrial,
    report: Report,
    checkpoints: Checkpoints | None = None,
    kept: KeptFirstStage | None = None,
) -> FitResult:
    """Train the classifier of a prepared trial.

    Args:
        trial: The trial; its model is trained in place.
        report: Function that receives the progress over all stages.
        checkpoints: Where checkpoints are written and resumed from; None disables them.
        kept: Trial that may have kept the model of the first stage; None: there is none.

    Returns:
        The result of the last stage, with that of the first one.
    """
    first, *later = split_stages(trial)
    if not later:
        return _fit_stage(first, trial.base.model, _list_texts(trial), report, checkpoints)
    (second,) = later
    num_first, num_steps = first.spec.num_steps, trial.spec.num_steps

    def report_first(step: int, _: int, loss: float) -> None:
        report(step, num_steps, loss)

    def report_second(step: int, _: int, loss: float) -> None:
        report(num_first + step, num_steps, loss)

    num_halved, why_trained = 0, ""
    stage = _resume_second(trial, first, checkpoints) if checkpoints else None
    if stage is None and kept:
        taken = take_first_stage(first, kept)
        stage, why_trained = (None, taken) if isinstance(taken, str) else (taken, "")
    if stage is None:
        fitted = _fit_stage(first, trial.base.model, first.train_ids, report_first, checkpoints)
        stage = FirstStage(
            history=fitted.history,
            train_score=fitted.train_score,
            kept_steps=fitted.kept_steps,
            num_places=fitted.num_places,
            why_trained=why_trained,
        )
        num_halved = fitted.num_halved
        second = _with_micro_batches(second, fitted.micro_batch_size)
    if checkpoints:
        checkpoints.first_stage = stage
    if trial.workers.size > 1:
        gc.collect()  # of two wrappers of DistributedDataParallel both would sum the gradients
    seed_dropout(second.spec, trial.workers)
    # Rows of all tokens that were trained are in the checkpoints of the second stage.
    fitted = _fit_stage(second, trial.model, _list_texts(trial), report_second, checkpoints)
    num_before = first.spec.training.num_train_epochs
    return replace(
        fitted,
        first_stage=stage,
        num_halved=num_halved + fitted.num_halved,
        stopped={name: num_before + number for name, number in fitted.stopped.items()},
    )


def split_stages(trial: PreparedTrial) -> list[PreparedTrial]:
    """Split a trial into its stages: joint trials of the same model, each with its own rows.

    Training rows are source rows, then target rows, so those of a stage follow each other.
    """
    if not trial.spec.training.has_stages:
        return [trial]
    num_rows = len(trial.train)
    first_target = num_rows - trial.spec.num_target_rows
    stages = []
    for spec in trial.spec.stages:
        start = 0 if spec.pattern.source_rows else first_target
        end = num_rows if spec.pattern.target_rows else first_target
        train = trial.train.slice(start, end - start)
        weights = weigh_rows(spec, train, trial.classes)
        stages.append(
            replace(
                trial,
                spec=spec,
                train=train,
                train_ids=trial.train_ids[start:end],
                row_weights=None if weights is None else weights.tolist(),
            )
        )
    return stages


def join_history(fitted: FitResult) -> pa.Table:
    """Return the steps of all stages; with two stages they have one more column ``stage``."""
    first = fitted.first_stage.history if fitted.first_stage else None
    if first is None:
        return fitted.history
    second = fitted.history
    for number, name in enumerate(second.column_names):
        if name in ("step", "epoch"):
            second = second.set_column(number, name, pc.add(second[name], first[name][-1]))
    histories = [
        table.append_column("stage", pa.array([number] * len(table), pa.int8()))
        for number, table in ((1, first), (2, second))
    ]
    return pa.concat_tables(histories, promote_options="default").combine_chunks()


def join_scores(trial: PreparedTrial, fitted: FitResult) -> NDArray[np.float64]:
    """Return the score of each training row when it was last trained on, in any stage."""
    if fitted.first_stage is None:
        return fitted.train_score
    num_only_first = len(trial.train) - len(fitted.train_score)
    return np.concatenate([fitted.first_stage.train_score[:num_only_first], fitted.train_score])


def measure_stages(trial: PreparedTrial, fitted: FitResult) -> dict[str, float]:
    """Measure the convergence of the last stage, whose model is tested.

    Returns:
        The numbers; with two stages also those of the first one, under ``first_stage_`` and the
        name. None for a trial without steps.
    """
    if not len(fitted.history):
        return {}
    *before, last = split_stages(trial)
    numbers = _measure_stage(last, fitted)
    for first in before:
        assert fitted.first_stage
        measured = _measure_stage(first, fitted.first_stage)
        numbers |= {f"first_stage_{name}": value for name, value in measured.items()}
    return numbers


def _measure_stage(stage: PreparedTrial, fitted: FitResult | FirstStage) -> dict[str, float]:
    return measure_convergence(
        fitted.history,
        stage.train["label"].to_numpy(),
        fitted.train_score,
        weigh_in_epoch(stage.spec, stage.train, stage.classes),
    )


def seed_dropout(spec: TrialSpec, workers: Workers) -> None:
    """Seed the global random generators for dropout; each worker draws it for its own rows."""
    worker_names = (workers.rank,) if workers.rank else ()
    torch.manual_seed(derive_seed(spec.seed, "dropout", *worker_names))


def _fit_stage(
    stage: PreparedTrial,
    initial: Any,
    tokens: Sequence[Sequence[int]],
    report: Report,
    checkpoints: Checkpoints | None,
) -> FitResult:
    """Train one stage.

    Args:
        stage: The rows, settings and model.
        initial: Model that has the embeddings with which the stage starts.
        tokens: Texts whose tokens' embeddings are trained, if others can be left out.
        report: Function that receives the progress of the stage.
        checkpoints: Where checkpoints are written and resumed from; None disables them.
    """
    _leave_out_rows(stage, initial, tokens)
    fitted = fit_classifier(
        stage.model, stage.train_ids, stage.labels, stage.spec, report, checkpoints,
        stage.row_weights, stage.dev,
    )  # fmt: skip
    rates = fitted.history["learning_rate"].to_pylist()
    restore_all_rows(stage.model, rates, stage.spec.training.weight_decay, fitted.kept_steps)
    return fitted


def _list_texts(trial: PreparedTrial) -> list[list[int]]:
    """List the token ids of all texts that the model reads until the end of training."""
    return [*trial.train_ids, *map(list, trial.dev.token_ids if trial.dev else ())]


def _leave_out_rows(stage: PreparedTrial, initial: Any, tokens: Sequence[Sequence[int]]) -> None:
    workers = stage.workers
    is_sharded = workers.size > 1 and stage.spec.resources.is_sharded
    if can_train_used_rows(stage.device.type, workers.size, is_sharded):
        train_used_rows(stage.model, initial, tokens)


def _resume_second(
    trial: PreparedTrial, first: PreparedTrial, checkpoints: Checkpoints
) -> FirstStage | None:
    """Read the results of the first stage from a checkpoint of the second one, if there is one.

    The checkpoint has every trained weight. The embeddings of tokens in no text were only decayed
    in the first stage, and are decayed here.
    """
    model, decay = trial.model, trial.spec.training.weight_decay
    _leave_out_rows(trial, model, _list_texts(trial))
    stage = checkpoints.read_first_stage(model, trial.workers)
    restore_all_rows(model, (), decay, ())
    if stage:
        _leave_out_rows(first, trial.base.model, first.train_ids)
        rates = stage.history["learning_rate"].to_pylist()
        restore_all_rows(model, rates, decay, stage.kept_steps)
    return stage


def _with_micro_batches(stage: PreparedTrial, size: int | None) -> PreparedTrial:
    """Let a stage start with the passes that fitted into memory in the stage before."""
    resources = stage.spec.resources.model_copy(update={"micro_batch_size": size})
    return replace(stage, spec=stage.spec.model_copy(update={"resources": resources}))
