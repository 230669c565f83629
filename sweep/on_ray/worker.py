"""What Ray's processes are given, and what they do with it, before a trial runs in one.

Big things travel once: the data set and the miniatures lie in Ray's object store, and a process
keeps what it has fetched for the trials that follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from xlt.data.core.files import new_folder
from xlt.data.corpora.corpus import Corpus
from xlt.data.dataset.schema import Dataset
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.spec.trial_spec import TrialSpec

_DATASETS: dict[str, Dataset] = {}
"""Of this process, by fingerprint: fetched and indexed once, not once a trial."""


CHUNK = 256
"""Specs that travel together: a process that is handed a trial reads those of its neighbours, too,
but not those of ten thousand others (3.6 ms for so many)."""

_SPECS: dict[Any, list[TrialSpec]] = {}
"""Of this process: the chunk that its last trial was in."""


def share_specs(specs: Sequence[TrialSpec]) -> list[list[Any]]:
    """Put specs into the object store; references for :func:`specs_of`."""
    starts = range(0, len(specs), CHUNK)
    return [[ray.put(list(specs[start : start + CHUNK]))] for start in starts]


def specs_of(numbers: Iterable[int], shared: list[list[Any]]) -> list[TrialSpec]:
    """The specs of these numbers, in a worker process."""
    found = []
    for number in numbers:
        (reference,) = shared[number // CHUNK]
        if reference not in _SPECS:
            _SPECS.clear()
            _SPECS[reference] = ray.get(reference)
        found.append(_SPECS[reference][number % CHUNK])
    return found


def later_spec(members: Sequence[int], shared: Mapping[str, Any]) -> TrialSpec | None:
    """A trial that starts about when these end, if all end in launch order; none after the last.

    Args:
        members: Numbers of the trials of a process.
        shared: ``specs`` from :func:`share_specs`, ``num_specs`` of them, ``num_at_once`` of which
            the cluster runs side by side.
    """
    number = max(members) + shared["num_at_once"]
    if number >= shared["num_specs"]:
        return None
    return specs_of([number], shared["specs"])[0]


def share(specs: Iterable[TrialSpec], dataset: Dataset) -> dict[str, Any]:
    """Put what trials need into the object store.

    Returns:
        References for :func:`receive`; in lists, so that they are passed on and not fetched for
        every trial.
    """
    identities = {s.base_identity for s in specs if s.base_identity.startswith("miniature:")}
    folders = {i: find_miniature_folder(i) for i in identities}
    return {
        "dataset": [ray.put(dataset.table), dataset.fingerprint, dataset.classes],
        "bases": {i: [ray.put(pack(f))] for i, f in folders.items() if f.is_dir()},
    }


def receive(spec: TrialSpec, shared: dict[str, Any]) -> Dataset:
    """The data set of a trial; its miniature is in this node's cache afterwards."""
    table_ref, fingerprint, classes = shared["dataset"]
    if fingerprint not in _DATASETS:
        _DATASETS.clear()
        _DATASETS[fingerprint] = Dataset(ray.get(table_ref), classes)
    if spec.base_identity in shared["bases"]:
        folder = find_miniature_folder(spec.base_identity)
        if not folder.is_dir():  # another node than the one that pre-trained it
            unpack(ray.get(shared["bases"][spec.base_identity][0]), folder)
    return _DATASETS[fingerprint]


@ray.remote(num_cpus=1)
def pretrain_and_pack(name: str, identity: str, corpus: Corpus) -> dict[str, bytes]:
    """Pre-train a miniature into this node's cache; the files of its folder."""
    from xlt.trainables.pretraining.pretrain import pretrain

    folder = find_miniature_folder(identity)
    if not folder.is_dir():
        pretrain(name, corpus, folder, lambda step, num_steps, loss: None)
    return pack(folder)


def pack(folder: Path) -> dict[str, bytes]:
    """The files of a miniature's folder, a few MB, to travel to another node."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def unpack(files: dict[str, bytes], folder: Path) -> None:
    """Make a miniature's folder, whole or not at all."""
    if folder.is_dir():
        return
    with new_folder(folder) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
