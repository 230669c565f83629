"""Finished trials of an experiment that only need more test languages."""

from __future__ import annotations

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.data.dataset.dev import draw_with_dev
from xlt.data.dataset.draws import Draw
from xlt.data.dataset.schema import Dataset
from xlt.sweep.planning.grid import Grid
from xlt.trainables.results.layout import is_weights
from xlt.trainables.results.plan import PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState
from xlt.trainables.spec.trial_spec import TrialSpec


def find_extensions(grid: Grid, results: Results) -> dict[str, str]:
    """Find the trials that are done in other test languages, so that they need not train again.

    They are those of the plan with which the experiment last ran into the results location.

    Args:
        grid: The grid.
        results: The results location.

    Returns:
        Trial id -> id of the finished trial whose kept model predicts for it.

    Raises:
        InputError: Trials are done in other test languages, and cannot be extended: they kept no
            model, or would train on other rows. Nothing that is done is trained again unasked.
    """
    name = grid.experiment.name
    if grid.experiment.sampling.test_langs is None or name not in results.experiments():
        return {}
    stored = results.read_plan(name)
    before = {
        (cell.base_model, cell.pattern, trial.draw_index, trial.seed): trial
        for cell in stored.cells
        for trial in cell.trials
    }
    extensions: dict[str, str] = {}
    changed: dict[str, tuple[TrialSpec, PlannedTrial]] = {}
    for spec in grid.specs:
        trial = before.get((*spec.cell, spec.draw_index, spec.seed))
        trains = not (spec.is_baseline or spec.mean_of)
        if trial and trial.trial_id != spec.trial_id and trains:
            changed[spec.trial_id] = spec, trial
        elif trial and trial.extends:  # from an earlier run with these languages
            extensions[spec.trial_id] = trial.extends
    asked = {i for _, trial in changed.values() for i in (trial.trial_id, trial.extends) if i}
    states = results.states([*changed, *sorted(asked - changed.keys())])
    reasons: dict[str, list[str]] = {}
    for spec, trial in changed.values():
        if states[spec.trial_id].state == "done":
            continue
        for earlier_id in filter(None, (trial.trial_id, trial.extends)):
            earlier = _read_earlier(spec, states[earlier_id])
            if earlier is None:
                continue
            names = (states[earlier_id].record or {}).get("files", ())
            is_kept = any(map(is_weights, names))
            if reason := _find_obstacle(spec, earlier, grid.dataset, is_kept):
                reasons.setdefault(reason, []).append(earlier_id)
            else:
                extensions[spec.trial_id] = earlier_id
            break
    if reasons:
        raise InputError(
            [
                f"{len(ids)} done trials {reason}: {first_few(ids)}; to train them again, give the "
                "experiment another name (--set name=...)"
                for reason, ids in reasons.items()
            ],
            "sampling.test_langs",
        )
    return extensions


def _read_earlier(spec: TrialSpec, state: TrialState) -> TrialSpec | None:
    """Spec of a finished trial that differs in its test languages alone; else None."""
    if state.state != "done" or state.record is None:
        return None
    earlier = TrialSpec.parse(state.record["spec"])
    return earlier if _differ_in_test_langs_only(spec, earlier) else None


def _differ_in_test_langs_only(spec: TrialSpec, earlier: TrialSpec) -> bool:
    now, before = (
        s.model_copy(update={"sampling": s.sampling.model_copy(update={"test_langs": None})})
        for s in (spec, earlier)
    )
    return now.identity() == before.identity()


def _find_obstacle(spec: TrialSpec, earlier: TrialSpec, dataset: Dataset, is_kept: bool) -> str:
    """Say why a finished trial cannot be tested in more languages; empty if it can."""
    (now, dev), (before, earlier_dev) = (_draw(dataset, s) for s in (spec, earlier))
    if now.train != before.train:
        return (
            "would train on other rows, because some share a text or a story with test rows of the "
            "new languages"
        )
    if dev != earlier_dev:
        return (
            "would stop on other dev rows, because some share a text or a story with test rows of "
            "the new languages"
        )
    if not {*before.test} <= {*now.test}:
        return "have other test rows in the languages that they were tested in"
    if not is_kept:
        return "kept no model (storage.keep_models), so that other languages need a new training"
    return ""


def _draw(dataset: Dataset, spec: TrialSpec) -> tuple[Draw, tuple[str, ...]]:
    """Draw the rows of a trial, and its dev rows of early stopping."""
    return draw_with_dev(
        dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index, spec.stopping_dev
    )
