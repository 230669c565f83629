"""Share data and base models with Ray's worker processes.

The data set and the miniatures are sent once, through Ray's object store, and a process keeps them
for its next trials.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import ray

from xlt.data.core.files import new_folder
from xlt.data.core.memory import importing_torch
from xlt.data.core.user_cache import writing_to_cache
from xlt.data.corpora.corpus import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Translations
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.spec.trial_spec import TrialSpec

_DATASETS: dict[tuple[str, ...], Dataset] = {}
"""Data set of this process by the fingerprints of its rows and translations, so that it is not
fetched and indexed for each trial."""

CHUNK = 256
"""Number of specs that are sent together. A process reads one chunk for its trial, instead of ten
thousand specs, which would take 3.6 ms."""

_SPECS: dict[Any, list[TrialSpec]] = {}
"""The chunk of this process's last trial, by its reference."""


class ImportFailedError(Exception):
    """This process cannot import the code of trials, so no trial can run in it."""


def import_code() -> None:
    """Import the code of trials, torch included; called in a worker process.

    Raises:
        ImportFailedError: The import failed, or wanted to end the process; the text names the file.
    """
    try:
        with importing_torch():
            import_module("xlt.trainables.trial.run_pack")
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"in {frame.filename}, line {frame.lineno}"
        raise ImportFailedError(
            f"it cannot import the code of trials: {type(error).__name__}: {error} ({place})"
        ) from error
    use_assigned_cores()


def use_assigned_cores() -> None:
    """Use as many threads as Ray assigned cores to this process; a fork has libraries with one.

    Ray sets OMP_NUM_THREADS, which libraries read when they are loaded.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    if threads.isdecimal() and threads != "1":
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(threads))


def share_specs(specs: Sequence[TrialSpec]) -> list[list[Any]]:
    """Put specs into the object store, and return references for :func:`fetch_specs`."""
    starts = range(0, len(specs), CHUNK)
    return [[ray.put(list(specs[start : start + CHUNK]))] for start in starts]


def fetch_specs(numbers: Iterable[int], shared: list[list[Any]]) -> list[TrialSpec]:
    """Fetch the specs with these numbers; called in a worker process."""
    specs = []
    for number in numbers:
        (reference,) = shared[number // CHUNK]
        if reference not in _SPECS:
            _SPECS.clear()
            _SPECS[reference] = ray.get(reference)
        specs.append(_SPECS[reference][number % CHUNK])
    return specs


def guess_next_spec(members: Sequence[int], shared: Mapping[str, Any]) -> TrialSpec | None:
    """Guess the trial that starts when these trials end, assuming that trials end in launch order.

    Args:
        members: Numbers of the trials of a process.
        shared: ``specs`` from :func:`share_specs`, their number ``num_specs``, and the number of
            trials that run side by side, ``num_at_once``.

    Returns:
        None if no trial is left.
    """
    number = max(members) + shared["num_at_once"]
    if number >= shared["num_specs"]:
        return None
    return fetch_specs([number], shared["specs"])[0]


def share(specs: Iterable[TrialSpec], dataset: Dataset) -> dict[str, Any]:
    """Put the data set and the miniatures of trials into the object store.

    Returns:
        References for :func:`receive`. They lie in lists, because Ray would replace bare references
        by their objects for each trial.
    """
    identities = {s.base_identity for s in specs if s.base_identity.startswith("miniature:")}
    folders = {i: find_miniature_folder(i) for i in identities}
    return {
        "dataset": [
            ray.put(dataset.table),
            ray.put(dataset.translations.table),
            dataset.classes,
            (dataset.fingerprint, *dataset.translations.fingerprints.values()),
        ],
        "bases": {i: [ray.put(pack(f))] for i, f in folders.items() if f.is_dir()},
    }


def receive(spec: TrialSpec, shared: dict[str, Any]) -> Dataset:
    """Return the data set of a trial, after writing its miniature into the cache of this node."""
    *tables, classes, key = shared["dataset"]
    if key not in _DATASETS:
        table, translations = ray.get(tables)
        _DATASETS.clear()
        _DATASETS[key] = Dataset(table, classes, translations=Translations(translations))
    if spec.base_identity in shared["bases"]:
        folder = find_miniature_folder(spec.base_identity)
        if not folder.is_dir():  # another node pre-trained it
            unpack(ray.get(shared["bases"][spec.base_identity][0]), folder)
    return _DATASETS[key]


@ray.remote(num_cpus=1)
def pretrain_and_pack(name: str, identity: str, corpus: Corpus) -> dict[str, bytes]:
    """Pre-train a miniature into the cache of this node, and return the files of its folder."""
    from xlt.trainables.pretraining.pretrain import pretrain

    folder = find_miniature_folder(identity)
    if not folder.is_dir():
        pretrain(name, corpus, folder, lambda step, num_steps, loss: None)
    return pack(folder)


def pack(folder: Path) -> dict[str, bytes]:
    """Read the files of a miniature's folder, a few MB."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def unpack(files: dict[str, bytes], folder: Path) -> None:
    """Make a miniature's folder, whole or not at all."""
    if folder.is_dir():
        return
    with writing_to_cache(), new_folder(folder) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
