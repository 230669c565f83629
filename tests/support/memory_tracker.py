"""A tracker that keeps runs in memory, and fails or waits on request."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from xlt.data.core.errors import InputError
from xlt.sweep.tracking.registry import TRACKERS, Entry
from xlt.sweep.tracking.runs import TrackedRun


@dataclass
class Store:
    """The runs that the tracker of one place has, and how it behaves.

    Attributes:
        runs: Trial id -> run.
        num_sent: Number of runs that were written.
        num_calls: Number of calls.
        is_away: Whether every call fails.
        answers: Calls wait until this event is set.
    """

    runs: dict[str, TrackedRun] = field(default_factory=dict)
    num_sent: int = 0
    num_calls: int = 0
    is_away: bool = False
    answers: threading.Event = field(default_factory=threading.Event)


STORES: defaultdict[str, Store] = defaultdict(Store)


class MemoryTracker:
    def __init__(self, place: str, experiment: str) -> None:
        self._store = STORES[place]
        self._answer()
        self.known = {
            name: run.digest
            for name, run in self._store.runs.items()
            if run.experiment == experiment
        }

    def send(self, run: TrackedRun) -> None:
        self._answer()
        self._store.runs[run.trial_id] = run
        self._store.num_sent += 1

    def _answer(self) -> None:
        self._store.num_calls += 1
        self._store.answers.wait(60)
        if self._store.is_away:
            raise InputError("it does not answer")


def use_memory_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the tracker ``memory``, whose places are names in :data:`STORES`."""
    STORES.clear()
    entry = Entry("memory_tracker:MemoryTracker", "pyarrow", "a local folder")
    monkeypatch.setitem(TRACKERS, "memory", entry)


def open_store(name: str) -> Store:
    """The store of a place, which answers."""
    STORES[name].answers.set()
    return STORES[name]
