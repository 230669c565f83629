"""Registry of backends, which run trials: ``BACKENDS``, and the steps before the first trial."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, cast

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.registries import load_entry
from xlt.data.core.user_cache import prepare_cache_dir
from xlt.data.corpora.corpus import Corpus
from xlt.data.corpora.registry import load_corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.driver.progress import Progress
from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.launch_order import WaitsFor
from xlt.trainables.models.hub import UNRESOLVED
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

BACKENDS = {
    "ray": "xlt.sweep.on_ray.tune.backend:TuneBackend",
    "inline": "xlt.sweep.backends.inline:InlineBackend",
}
"""Name -> class, imported on first use: a run without pending trials needs no torch or Ray."""


MINIATURE_BYTES = 6 * 2**20
"""Space for a miniature; the largest has 4.7 MB."""


class Backend(Protocol):
    """Pre-trains miniatures and runs trials."""

    def pretrain(self, missing: dict[str, str], corpus: Corpus, progress: Progress) -> None:
        """Pre-train miniatures (name -> identity) into the cache."""

    def run(
        self,
        specs: list[TrialSpec],
        dataset: Dataset,
        results: Results,
        policy: ArtifactPolicy,
        progress: Progress,
        pack_size: int,
        waits_for: WaitsFor,
    ) -> None:
        """Run trials; each one ends with a result folder or a recorded failure.

        Args:
            specs: The trials, in launch order.
            dataset: The rows from which the trials draw.
            results: Location of the result folders.
            policy: Files to keep besides the results.
            progress: Receiver of events.
            pack_size: Largest number of trials that train side by side in one process.
            waits_for: Trials that start after others.
        """

    def close(self) -> None:
        """Release the resources of the backend."""


MakeBackend: TypeAlias = Callable[[str | None, Iterable[TrialSpec]], Backend]
"""A backend's class: its arguments are the address of a cluster, or None, and the trials."""


def refuse_unknown_backend(name: str) -> None:
    """Raise InputError if there is no backend of this name."""
    if name not in BACKENDS:
        raise InputError(unknown("backend", name, BACKENDS))


def choose_backend(address: str | None, pending: Sequence[TrialSpec]) -> str:
    """Choose ``inline`` for a single trial of one process on this machine, else ``ray``.

    Ray takes longer to start than a small trial to run, and one trial has nothing to wait for.

    Args:
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else this machine.
        pending: The trials to run.
    """
    is_here = not (address or os.environ.get("RAY_ADDRESS"))
    wanted = pending[0].resources
    is_alone = len(pending) == 1 and wanted.workers == 1 and not wanted.others
    return "inline" if is_here and is_alone else "ray"


def find_backend(name: str) -> MakeBackend:
    """Import the class of a backend."""
    return cast(MakeBackend, load_entry(BACKENDS, name))


def pretrain_missing(
    grid: Grid, pending: Iterable[TrialSpec], runner: Backend, progress: Progress
) -> None:
    """Pre-train the miniatures of pending trials that are not in the cache."""
    experiment = grid.experiment
    miniatures = {model.name: model.miniature for model in experiment.models if model.miniature}
    missing = {
        miniatures[spec.base_model]: spec.base_identity
        for spec in pending
        if spec.base_model in miniatures and not find_miniature_folder(spec.base_identity).is_dir()
    }
    if missing:
        prepare_cache_dir(len(missing) * MINIATURE_BYTES)
        progress.stage(f"pre-training {len(missing)} miniatures: {', '.join(missing)}")
        corpus = load_corpus(experiment.pretraining, grid.dataset, grid.held_out)
        runner.pretrain(missing, corpus, progress)


def refuse_unresolved(pending: Iterable[TrialSpec]) -> None:
    """Refuse base models whose commit on the hub is unknown."""
    names = {s.base_model: s.base_path for s in pending if s.revision == UNRESOLVED}
    if names:
        raise InputError(
            [
                f"base model {name!r}: the hub does not answer for {path!r}, and no copy is "
                "cached; connect, download the model, or give a local folder as its path"
                for name, path in names.items()
            ]
        )
