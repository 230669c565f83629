"""run: from an experiment to result folders; whatever is done already is not run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from rich.console import Console

from data.corpora import Corpus, load_corpus, parse_corpus
from data.errors import InputError, unknown
from data.schema import Dataset
from sweep.experiment import Experiment
from sweep.gate import check_data, data_warnings, refuse_errors
from sweep.grid import Grid, expand
from sweep.ledger import Ledger, read_ledger
from sweep.progress import Progress
from trainables.hub import UNRESOLVED
from trainables.miniatures import miniature_folder
from trainables.result import Results
from trainables.spec import TrialSpec

BACKENDS = {
    "tune": "sweep.tune_backend:TuneBackend",
    "inline": "sweep.inline_backend:InlineBackend",
}
"""Name -> class, imported when used: torch and ray are not needed to find nothing pending."""


class Backend(Protocol):
    """Where stages and trials run."""

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures (name -> identity) into the cache."""

    def run(
        self,
        specs: list[TrialSpec],
        dataset: Dataset,
        results: Results,
        keep_models: str,
        progress: Progress,
    ) -> None:
        """Run trials, each to its result folder or to a recorded failure."""

    def close(self) -> None:
        """Give back what was started."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        grid: What was planned.
        results: Where the results lie.
        ledger: What is done, failed and pending now.
        num_run: Trials that this run started with; 0 if everything was done before.
        interrupted: Whether Ctrl-C ended it.
    """

    grid: Grid
    results: Results
    ledger: Ledger
    num_run: int
    interrupted: bool = False


def run(
    experiment: Experiment,
    results: str | None = None,
    *,
    backend: str = "tune",
    address: str | None = None,
    console: Console | None = None,
) -> Outcome:
    """Run every trial of an experiment that is not done yet.

    Args:
        experiment: What to run.
        results: Location of the results; None: the experiment's own.
        backend: A name in :data:`BACKENDS`.
        address: Of a running Ray cluster; None: RAY_ADDRESS, else a local one.
        console: Where progress is shown; None: standard error.

    Returns:
        What is done, failed and pending. Failed trials do not raise; the next run tries them again.

    Raises:
        InputError: Data, grid, location or cluster cannot be used and nothing was started, or the
            location takes no more files; what was finished by then is kept.
    """
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    console = console or Console(stderr=True)
    grid = expand(experiment)
    location = Results(results or experiment.storage.results)
    location.prepare()
    _refuse_other_settings(location, grid)
    findings = check_data(grid)
    refuse_errors(grid, findings)
    location.save_experiment(grid.plan(data_warnings(findings)), experiment.to_yaml())
    ledger = read_ledger(location, [spec.trial_id for spec in grid.specs])
    for trial_id, why in ledger.corrupt.items():
        place = location.set_aside(trial_id)
        console.print(f"{trial_id} is damaged ({why}); set aside in {place}, runs again")
    for trial_id in ledger.failed:
        location.remove_leftovers(trial_id)
    pending = [spec for spec in grid.specs if spec.trial_id in set(ledger.pending)]
    if not pending:
        return Outcome(grid, location, ledger, 0)
    _refuse_unresolved(pending)

    interrupted = False
    runner: Backend | None = None
    with Progress(grid.specs, ledger.done, console) as progress:
        try:
            runner = _backend(backend)(address)
            missing = _missing_miniatures(experiment, pending)
            if missing:
                progress.stage(f"pre-training {len(missing)} miniatures: {', '.join(missing)}")
                corpus = load_corpus(
                    parse_corpus(experiment.pretraining), grid.dataset, grid.held_out
                )
                runner.pretrain(missing, corpus, progress)
            progress.stage(f"running {len(pending)} of {len(grid.specs)} trials")
            runner.run(pending, grid.dataset, location, experiment.storage.keep_models, progress)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if runner is not None:
                runner.close()
    ledger = read_ledger(location, [spec.trial_id for spec in grid.specs])
    # Tune ends quietly on Ctrl-C: what was neither done nor failed was not let finish.
    unfinished = any(state.state in ("absent", "corrupt") for state in ledger.states.values())
    return Outcome(grid, location, ledger, len(pending), interrupted or unfinished)


def _backend(name: str) -> Callable[[str | None], Backend]:
    module, _, attribute = BACKENDS[name].partition(":")
    return cast(Callable[[str | None], Backend], getattr(import_module(module), attribute))


def _missing_miniatures(experiment: Experiment, pending: list[TrialSpec]) -> dict[str, str]:
    """Miniature -> identity of those that pending trials need and the cache lacks."""
    miniatures = {model.name: model.miniature for model in experiment.models if model.miniature}
    return {
        miniatures[spec.base_model]: spec.base_identity
        for spec in pending
        if spec.base_model in miniatures and not miniature_folder(spec.base_identity).is_dir()
    }


def _refuse_unresolved(pending: list[TrialSpec]) -> None:
    names = {s.base_model: s.base_path for s in pending if s.revision == UNRESOLVED}
    if names:
        raise InputError(
            [
                f"base model {name!r}: the hub cannot be asked for {path!r}, and no copy of it is "
                "cached; connect, download it, or give a local folder as its path"
                for name, path in names.items()
            ]
        )


def _refuse_other_settings(location: Results, grid: Grid) -> None:
    """Refuse to put two experiments of one name, but other settings, into one place.

    Base models, patterns, seeds, overrides, resources and storage may change between runs:
    that is how an experiment grows.
    """
    experiment = grid.experiment
    if experiment.name not in location.experiments():
        return
    file = f"experiments/{experiment.name}.yaml"
    there = Experiment.from_yaml(location.read(file).decode(), location.path(file))
    differences = [
        f"{field}.{key}: {old.get(key)!r} there, {new.get(key)!r} here"
        for field in ("task", "sampling", "training")
        for old, new in [
            (getattr(there, field).model_dump(), getattr(experiment, field).model_dump())
        ]
        for key in new
        if old.get(key) != new[key]
    ]
    if location.read_plan(experiment.name).data_fingerprint != grid.dataset.fingerprint:
        differences.append("data: other rows there than here")
    if differences:
        raise InputError(
            [
                f"an experiment {experiment.name!r} with other settings lies in {location.uri}; "
                "give this one another name (--set name=...) or another --results",
                *differences,
            ]
        )
