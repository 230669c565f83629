"""What is done, failed and pending, read from the result folders: resuming is running the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState


@dataclass(frozen=True)
class Ledger:
    """The states of an experiment's trials.

    Attributes:
        states: Trial id -> what lies in its folder.
    """

    states: dict[str, TrialState]

    def _in(self, *states: str) -> dict[str, str]:
        return {i: state.detail for i, state in self.states.items() if state.state in states}

    @property
    def done(self) -> list[str]:
        """Trials that are never run again."""
        return list(self._in("done"))

    @property
    def failed(self) -> dict[str, str]:
        """Trial id -> error of the last try."""
        return self._in("failed")

    @property
    def corrupt(self) -> dict[str, str]:
        """Trial id -> what is wrong with its folder."""
        return self._in("corrupt")

    @property
    def pending(self) -> list[str]:
        """Trials to run: all but the done ones."""
        return list(self._in("failed", "corrupt", "absent"))


def read_ledger(results: Results, trial_ids: Iterable[str]) -> Ledger:
    """Read and verify the folders of these trials, in full: what is done is never run again.

    The cache of verified folders (trainables/results/verified.py) would miss a disk that changes
    bytes.
    """
    return Ledger(results.states(trial_ids))
