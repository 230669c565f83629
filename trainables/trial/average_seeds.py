"""average_seeds: test the mean of the kept weights of trials that differ in their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import KeepModels
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.classification import FitResult
from xlt.trainables.training.loop import NO_HISTORY, predict
from xlt.trainables.trial.model_files import load_kept_weights, read_kept_weights
from xlt.trainables.trial.run_trial import finish_trial, prepare_trial

Weights = dict[str, torch.Tensor]


def average_seeds(
    spec: TrialSpec,
    dataset: Dataset,
    results: Results,
    member_ids: Sequence[str],
    keep_models: KeepModels = "none",
    explain: Explain | None = None,
) -> TrialResult:
    """Average the kept weights of trials and test the mean, without training.

    Schmidt, Vulic and Glavas 2023 (arXiv 2305.16834) average the weights of independent runs. The
    trials must have heads and adapters that started from the same values (``training.init_seed``):
    the same unit of two others means different things, and the mean nothing.

    Args:
        spec: The mean, with :attr:`TrialSpec.mean_of`.
        dataset: Data set whose fingerprint is ``spec.data_fingerprint``.
        results: Location of the trials.
        member_ids: Ids of the trials to average.
        keep_models: Weights in the result, as in :func:`run_trial`.
        explain: Settings for explaining test rows; None disables explanations.

    Returns:
        The result, without steps and convergence. Its training rows are those of the first trial,
        scored by the mean.

    Raises:
        InputError: A trial is not done or kept no weights, or they cannot be averaged.
        DivergedError: A score is nan or infinite.
    """
    trial = prepare_trial(spec, dataset)
    load_kept_weights(trial.model, _average(results, member_ids), spec.method)
    trial.clock.lap("fit")
    fitted = FitResult(
        history=NO_HISTORY,
        train_score=predict(trial.model, trial.train_ids, spec),
        micro_batch_size=None,
        num_halved=0,
        num_places=(0, 0),
        kept_steps=(),
        stopped={},
    )
    result = finish_trial(trial, fitted, keep_models, explain, None)
    return replace(result, execution=result.execution | {"mean_of": list(member_ids)})


def _average(results: Results, trial_ids: Sequence[str]) -> Weights:
    """Compute the arithmetic mean of the kept weights of trials, in fp32.

    Raises:
        InputError: A trial is not done, kept no weights, or has weights of other names or shapes.
    """
    totals: Weights = {}
    for trial_id in trial_ids:
        try:
            weights = retry(partial(read_kept_weights, results, trial_id))
        except InputError as error:
            raise InputError(f"trial {trial_id}: {error}") from error
        shapes = {name: weight.shape for name, weight in weights.items()}
        if totals and shapes != {name: total.shape for name, total in totals.items()}:
            raise InputError(
                f"the weights of trials {trial_ids[0]} and {trial_id} have other names or shapes, "
                "so they have no mean; train them with the same settings"
            )
        for name, weight in weights.items():
            totals[name] = totals.get(name, 0) + weight.float()
    return {name: total / len(trial_ids) for name, total in totals.items()}
