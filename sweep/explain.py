"""Explaining the trials of an experiment later, from the models that they kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.load_entry import load_entry
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.registry import load_dataset
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.results.attributions import Attributions, has_attributions, save_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.selection import parse_selection
from xlt.trainables.spec.trial_spec import TrialSpec

Told = Callable[[TrialSpec, Attributions], None]
"""Called when a trial was explained, or could not be."""


class ExplainBackend(Protocol):
    """Where trials are explained."""

    def __call__(
        self,
        address: str | None,
        specs: Sequence[TrialSpec],
        dataset: Dataset,
        results: Results,
        settings: Explain,
        told: Told,
    ) -> None:
        """Explain trials, over the cluster at an address if it has one; each told when it ends."""


BACKENDS = {
    "ray": "xlt.sweep.on_ray.explain:explain_on_ray",
    "inline": "xlt.sweep.explain:explain_inline",
}
"""Name -> :class:`ExplainBackend`, imported when used."""


@dataclass(frozen=True)
class Explained:
    """How explaining ended.

    Attributes:
        num_made: Trials that were explained.
        num_there: Trials that were explained with the same settings before.
        failed: Trial id -> why it could not be explained.
    """

    num_made: int
    num_there: int
    failed: dict[str, str]


def explain_trials(
    results: str,
    experiment: str | None,
    cells: str,
    settings: Explain,
    *,
    backend: str = "ray",
    address: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Explained:
    """Explain every done trial that was not explained with these settings before.

    Args:
        results: The results location.
        experiment: Name of the experiment; None: the only one.
        cells: Whose trials, see :func:`parse_selection`; empty: all.
        settings: How.
        backend: A name in :data:`BACKENDS`.
        address: Of a running Ray cluster; None: RAY_ADDRESS, else a local one.
        say: Told a line a trial.

    Raises:
        InputError: No such location, experiment, cell or backend, no done trial among the cells,
            or data that are not those of the experiment.
    """
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    collected = collect(results, experiment, allow_mixed=True)
    chosen = _chosen(collected, cells)
    location = Results(collected.uri)
    resolved = settings.resolved()
    left = [trial for trial in chosen if not has_attributions(location, trial, resolved)]
    failed: dict[str, str] = {}
    if left:
        dataset = _dataset(location, collected)
        specs = [location.read_spec(trial) for trial in left]
        ended: list[str] = []

        def told(spec: TrialSpec, made: Attributions) -> None:
            ended.append(spec.trial_id)
            where = f"[{len(ended)}/{len(left)}] {spec.trial_id}"
            if made.table is None:
                failed[spec.trial_id] = made.error
                say(f"{where}: FAILED: {made.error}")
            else:
                save_attributions(location, spec.trial_id, made)
                say(f"{where}: {len(made.table)} texts in {made.details['seconds']:.1f} s")

        say(f"explaining {len(left)} trials by {settings.method}")
        # Base model by base model, so that a process mostly has the next one's loaded already.
        specs.sort(key=lambda spec: (spec.base_identity, spec.method))
        _backend(backend)(address, specs, dataset, location, settings, told)
    return Explained(len(left) - len(failed), len(chosen) - len(left), failed)


def explain_inline(
    address: str | None,
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    results: Results,
    settings: Explain,
    told: Told,
) -> None:
    """Explain in this process, one trial after the other; there is no cluster to reach."""
    from xlt.trainables.inference.explain_kept import explain_kept

    for spec in specs:
        told(spec, explain_kept(spec, dataset, results, settings))


def _backend(name: str) -> ExplainBackend:
    return cast(ExplainBackend, load_entry(BACKENDS, name))


def _chosen(collected: Collected, cells: str) -> list[str]:
    """Ids of the done trials in these cells."""
    plan = collected.plan
    selection = parse_selection(cells, plan.base_models, plan.patterns)
    meant = [row for row in collected.rows if selection.has(row.cell)]
    done = [row.trial_id for row in meant if row.is_done]
    if not done:
        raise InputError(
            f"none of {len(meant)} trials is done; `xlt run` them first, or choose other --only",
            f"experiment {plan.experiment} in {collected.uri}",
        )
    return done


def _dataset(location: Results, collected: Collected) -> Dataset:
    """The experiment's data, read anew from their source."""
    name = collected.plan.experiment
    text, path = location.read_experiment(name)
    experiment = Experiment.from_yaml(text, path)
    dataset = load_dataset(experiment.data)
    if dataset.fingerprint != collected.plan.data_fingerprint:
        raise InputError(
            f"the data of experiment {name} have changed since it ran; give it back the rows that "
            f"it had, see `data` in {path}"
        )
    return dataset
