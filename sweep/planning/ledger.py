"""The ledger: the state of every trial, read from result folders; a run starts what is not done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlt.data.core.stages import enter_stage
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState


@dataclass(frozen=True)
class Ledger:
    """The states of an experiment's trials.

    Attributes:
        states: Trial id -> state of its result folder.
    """

    states: dict[str, TrialState]

    def _in(self, *states: str) -> dict[str, str]:
        return {i: state.detail for i, state in self.states.items() if state.state in states}

    @property
    def done(self) -> list[str]:
        """Ids of done trials, which never run again."""
        return list(self._in("done"))

    @property
    def failed(self) -> dict[str, str]:
        """Trial id -> error of the last attempt."""
        return self._in("failed")

    @property
    def corrupt(self) -> dict[str, str]:
        """Trial id -> fault of its result folder."""
        return self._in("corrupt")

    @property
    def pending(self) -> list[str]:
        """Ids of trials to run: all that are not done."""
        return list(self._in("failed", "corrupt", "absent"))


def read_ledger(results: Results, trial_ids: Iterable[str]) -> Ledger:
    """Read and verify the result folders of trials in full, because a done trial never runs again.

    The cache of verified folders (trainables/results/verified.py) is not used; it would not notice
    a disk that changes bytes.
    """
    enter_stage("verifying the results of trials")
    return Ledger(results.states(trial_ids))
