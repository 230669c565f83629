"""run_pack: train several LoRA trials (members) side by side with shared forward passes.

Each member is built, stepped, scored and kept as in :func:`run_trial`; fit_pack.py says what
is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods.lora_pack import adapts_head, has_other_dropout
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import KeepModels
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import FitResult
from xlt.trainables.training.loop import choose_base_dtype
from xlt.trainables.trial.first_stage_kept import KeptFirstStage
from xlt.trainables.trial.fit_pack import Member, PackReport, fit_pack
from xlt.trainables.trial.run_trial import finish_trial, prepare_trial, run_trial

Outcome = tuple[TrialSpec, TrialResult | Exception]
"""A member, with its result or its error."""


def run_pack(
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    *,
    report: PackReport = lambda spec, step, num_steps, loss: None,
    keep_models: KeepModels = "none",
    explain: Explain | None = None,
    checkpoints: Mapping[str, Checkpoints] | None = None,
    first_stages: Mapping[str, KeptFirstStage] | None = None,
) -> Iterator[Outcome]:
    """Train and test several trials that share a base model.

    Trials that cannot share passes run one after another. Such trials have different
    :func:`compute_pack_key`, a base model with dropout of its own, or adapters in the head.

    Args:
        specs: Specs of the members.
        dataset: Data set whose fingerprint is the specs' ``data_fingerprint``.
        report: Function that receives the progress of each member.
        keep_models: Weights in the results, as in :func:`run_trial`.
        explain: Settings for explaining test rows, as in :func:`run_trial`.
        checkpoints: Checkpoints by trial id.
        first_stages: Trial id -> trial that may have kept the model of its first stage.

    Yields:
        Each member when it ends, with its result or its error. An error ends only its own member.
    """
    checkpoints, first_stages = checkpoints or {}, first_stages or {}
    if not _can_share(specs, dataset):
        for spec in specs:
            yield (
                spec,
                _run_alone(spec, dataset, report, keep_models, explain, checkpoints, first_stages),
            )
        return
    members: list[Member] = []
    for spec in specs:
        try:
            members.append(
                Member(prepare_trial(spec, dataset), report, checkpoints.get(spec.trial_id))
            )
        except Exception as error:
            yield spec, error
    for member in fit_pack(members):
        yield member.trial.spec, _finish_member(member, keep_models, explain)


def _run_alone(
    spec: TrialSpec,
    dataset: Dataset,
    report: PackReport,
    keep_models: KeepModels,
    explain: Explain | None,
    checkpoints: Mapping[str, Checkpoints],
    first_stages: Mapping[str, KeptFirstStage],
) -> TrialResult | Exception:
    try:
        return run_trial(
            spec,
            dataset,
            report=lambda step, num_steps, loss: report(spec, step, num_steps, loss),
            keep_models=keep_models,
            explain=explain,
            checkpoints=checkpoints.get(spec.trial_id),
            first_stage=first_stages.get(spec.trial_id),
        )
    except Exception as error:
        return error


def _can_share(specs: Sequence[TrialSpec], dataset: Dataset) -> bool:
    keys = {compute_pack_key(spec) for spec in specs}
    if len(specs) < 2 or len(keys) > 1 or None in keys:
        return False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = choose_base_dtype(specs[0], device)
    try:
        base = load_base(specs[0], device, dtype, len(dataset.classes))
    except InputError:
        return False  # each member raises it by itself
    pads_right = getattr(base.model.config, "padding_side", "right") == "right"
    has_own_head = not adapts_head(base.model, base.head_modules)
    return pads_right and has_own_head and not has_other_dropout(base.model)


def _finish_member(
    member: Member, keep_models: KeepModels, explain: Explain | None
) -> TrialResult | Exception:
    """Return the result of a member, or the error that ended it."""
    if not isinstance(member.outcome, FitResult):
        return member.outcome or RuntimeError("the trial was not trained to its end")
    member.trial.clock.seconds["fit"] = round(member.seconds, 4)
    member.trial.clock.resume()
    try:
        return finish_trial(member.trial, member.outcome, keep_models, explain, member.checkpoints)
    except Exception as error:
        return error
