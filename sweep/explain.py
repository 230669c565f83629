"""Explain the trials of an experiment after they are done, from the models that they kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.memory import importing_torch
from xlt.data.core.registries import load_entry
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.registry import load_dataset
from xlt.sweep.backends.events import Unwritable
from xlt.sweep.backends.unwritable import refuse_unwritable, write_or_refuse
from xlt.sweep.driver.silence import SilenceWatch
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.results.attributions import Attributions, has_attributions, save_attributions
from xlt.trainables.results.layout import experiment_file
from xlt.trainables.results.location import LostLocationError
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import BASELINES
from xlt.trainables.spec.trial_spec import TrialSpec

OnExplained = Callable[[TrialSpec, Attributions], None]
"""Function that is called for each trial when it was explained or explaining failed."""


class ExplainBackend(Protocol):
    """Function that explains trials, in this process or on a cluster."""

    def __call__(
        self,
        address: str | None,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        settings: Explain,
        on_explained: OnExplained,
    ) -> None:
        """Explain trials, and call ``on_explained`` for each when it ends."""


BACKENDS = {
    "ray": "xlt.sweep.on_ray.explain:explain_on_ray",
    "inline": "xlt.sweep.explain:explain_inline",
}
"""Name -> :class:`ExplainBackend`, which is imported when it is used."""


@dataclass(frozen=True)
class Explained:
    """Outcome of explaining.

    Attributes:
        num_explained: Number of trials that this call explained.
        num_before: Number of trials that were explained with the same settings before.
        failed: Trial id -> reason why explaining failed.
    """

    num_explained: int
    num_before: int
    failed: dict[str, str]


def explain_trials(
    results: str,
    experiment: str | None = None,
    *,
    only: str = "",
    settings: Mapping[str, object] | None = None,
    backend: str = "ray",
    address: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Explained:
    """Explain all done trials that were not explained with these settings before.

    Args:
        results: Results location.
        experiment: Name of the experiment; None if the location holds only one.
        only: Cells to explain, e.g. ``model=elyza,pattern=ja16``; empty: all.
        settings: Settings of the explanations, as in the ``explain`` block of an experiment, e.g.
            ``{"method": "ig", "rows": 20}``; None: LIME with LIT's settings.
        backend: Name in :data:`BACKENDS`.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else a local cluster.
        say: Function that receives a line of text for each trial.

    Raises:
        InputError: There is no such location, experiment, cell or backend, no trial of these cells
            is done, or the data have changed since the experiment ran. Or the location accepts no
            more files; what was explained is kept.
    """
    explain = Explain.parse(dict(settings or {}))
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    collected = collect(results, experiment, only=only, allow_mixed=True)
    done = _done_trials(collected, say)
    location = Results(collected.uri)
    resolved = explain.resolved()
    pending = [trial for trial in done if not has_attributions(location, trial, resolved)]
    failed: dict[str, str] = {}
    if pending:
        dataset = _dataset(location, collected)
        explain.check_class(dataset.classes)
        specs = [location.read_spec(trial) for trial in pending]
        ended: list[str] = []

        silence = SilenceWatch(
            "no trial was explained", lambda: f"{len(ended)} of {len(pending)} ended", say
        )

        def on_explained(spec: TrialSpec, explained: Attributions) -> None:
            silence.heard()
            ended.append(spec.trial_id)
            trial = f"[{len(ended)}/{len(pending)}] {spec.trial_id}"
            if explained.table is None:
                _refuse_lost(location)
                failed[spec.trial_id] = explained.error
                say(f"{trial}: FAILED: {explained.error}")
            else:
                write_or_refuse(
                    location, lambda: save_attributions(location, spec.trial_id, explained)
                )
                seconds = explained.details["seconds"]
                say(f"{trial}: {len(explained.table)} texts in {seconds:.1f} s")

        say(f"explaining {len(pending)} trials by {explain.method}")
        # Sorted by base model, because a process keeps the last base model loaded.
        specs.sort(key=lambda spec: (spec.base_identity, spec.method))
        with silence:
            _backend(backend)(address, specs, dataset, location, explain, on_explained)
    return Explained(len(pending) - len(failed), len(done) - len(pending), failed)


def explain_inline(
    address: str | None,
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    settings: Explain,
    on_explained: OnExplained,
) -> None:
    """Explain in this process, one trial after the other; the address of a cluster is ignored."""
    with importing_torch():
        from xlt.trainables.inference.explain_kept import explain_kept

    for spec in specs:
        on_explained(spec, explain_kept(spec, dataset, results, settings))


def _refuse_lost(location: Results) -> None:
    """End the command if a trial failed because its location was lost: all others would fail."""
    try:
        location.require()
    except LostLocationError as error:
        refuse_unwritable(location, Unwritable(str(error)))


def _backend(name: str) -> ExplainBackend:
    return cast(ExplainBackend, load_entry(BACKENDS, name))


def _done_trials(collected: Collected, say: Callable[[str], None]) -> list[str]:
    """Ids of the done trials that can be explained; baselines cannot."""
    rows, where = collected.rows, f"experiment {collected.plan.experiment} in {collected.uri}"
    done = [row for row in rows if row.is_done]
    if not done:
        raise InputError(
            f"none of {len(rows)} trials is done; `xlt run` them first, or give another --only",
            where,
        )
    names = ", ".join(dict.fromkeys(r.cell.base_model for r in done if r.method in BASELINES))
    if names:
        sentence = f"{names}: a baseline keeps no model, so its trials cannot be explained"
        if all(row.method in BASELINES for row in done):
            raise InputError(f"{sentence}; give another --only", where)
        say(sentence)
    return [row.trial_id for row in done if row.method not in BASELINES]


def _dataset(location: Results, collected: Collected) -> Dataset:
    """Read the data of the experiment from their source, and check that they are unchanged."""
    name = collected.plan.experiment
    as_run = location.read_experiment(name)
    if as_run is None:
        raise InputError(
            "the experiment as it was run, which names the data, is missing; `xlt run` writes it",
            location.path(experiment_file(name)),
        )
    text, path = as_run
    experiment = Experiment.from_yaml(text, path)
    dataset = load_dataset(experiment.data)
    if dataset.fingerprint != collected.plan.data_fingerprint:
        raise InputError(
            f"the data of experiment {name} have changed since it ran; restore the rows that it "
            f"used, see `data` in {path}"
        )
    return dataset
