"""What the driver hears of its trials while Tune runs them, and what it makes of a death."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

from ray import tune

from xlt.data.core.retry import retry
from xlt.sweep.backends.worker import record_failure
from xlt.sweep.driver.progress import Progress
from xlt.sweep.on_ray.preemption import request_preemption
from xlt.sweep.on_ray.tune.queue import TrialQueue
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

LEAVE_SECONDS = 60.0
"""Given to trials for their checkpoints after SIGTERM; a batch system's notice is one or two
minutes, Kubernetes kills after 30 s unless told otherwise."""


class Watcher(tune.Callback):
    """Passes on what Tune hears of its trials, and has those started again whose process died.

    Deaths are counted here and not by Tune's ``max_failures``, which counts the death of a warm
    process once for each of its outstanding calls: a single kill has used up three failures of one
    trial.

    Attributes:
        queue: Where Tune gets trials from.
        unwritable: The outcome that said so; empty as long as results can be written.
    """

    def __init__(
        self, packs: Sequence[Sequence[TrialSpec]], results: Results, progress: Progress
    ) -> None:
        self._specs = [spec for pack in packs for spec in pack]
        self._results, self._progress = results, progress
        self._ended: set[int] = set()
        self._left: dict[str, set[int]] = defaultdict(set)
        self._deaths: Counter[int] = Counter()
        self._asked_to_leave: float | None = None
        self._has_told = False
        numbers = count()
        self.queue = TrialQueue([next(numbers) for _ in pack] for pack in packs)
        self.unwritable: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune snapshots its callbacks, but a terminal cannot be pickled or restored."""
        return {}

    @property
    def is_over(self) -> bool:
        """Whether every trial ended; not so after Ctrl-C."""
        return len(self._ended) == len(self._specs)

    def must_stop(self) -> bool:
        """Whether Tune is to end all trials: for nothing, or because they had time to leave."""
        asked = self._asked_to_leave
        is_late = asked is not None and time.monotonic() - asked > LEAVE_SECONDS
        return bool(self.unwritable) or is_late

    def let_go(self) -> None:
        """Start nothing more, and have running trials write a checkpoint and end.

        May be called by a signal at any moment, so that Ray is told later.
        """
        self.queue.is_closed = True
        self._asked_to_leave = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune looks at its trials, several times a second."""
        if self._asked_to_leave is not None and not self._has_told:
            self._has_told = True
            request_preemption()
            self._progress.stage("stopping: trials write checkpoints")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It began, or began again."""
        for member in trial.config["members"]:
            self._progress.started(self._specs[member])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A member got on, or ended."""
        member: int = result["member"]
        spec = self._specs[member]
        if "step" in result:
            self._progress.stepped(spec, result["step"], result["num_steps"], result["loss"])
        elif "unwritable" in result:
            self.unwritable = result
        elif "left" in result:
            self._left[trial.trial_id].add(member)
            self._progress.left(spec, result["left"])
        else:
            self._ended.add(member)
            self._progress.finished(spec, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It ended by itself; members that had to leave go on elsewhere."""
        self.queue.again(sorted(self._left.pop(trial.trial_id, ())), now=True)
        # Tune's running means of all that was reported: most of what it keeps of a trial, and of
        # ten thousand trials more than a hundred megabytes that nobody asks for.
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process ended, and no one else can tell what becomes of its members."""
        left = self._left.pop(trial.trial_id, set())
        self.queue.again(sorted(left), now=True)
        members = [m for m in trial.config["members"] if m not in self._ended | left]
        again = [member for member in members if self._starts_again(member, trial)]
        # Most deaths are the machine's. At the last try a member is alone, with nobody else's
        # death to die, and waits for the others: where memory is short, there is more at the end.
        last = [m for m in again if self._deaths[m] == self._specs[m].resources.retries]
        self.queue.again([member for member in again if member not in last], now=True)
        for member in last:
            self.queue.again([member], now=False)

    def _starts_again(self, member: int, trial: Any) -> bool:
        """Whether a member whose process died may try again; if not, its failure is recorded."""
        spec = self._specs[member]
        state = retry(lambda: self._results.state(spec.trial_id))
        if state.record is not None and state.state == "done":  # between its last file and report
            self._ended.add(member)
            self._progress.finished(spec, {"metrics": state.record["metrics"]})
            return False
        retry(lambda: self._results.remove_leftovers(spec.trial_id))
        self._deaths[member] += 1
        deaths = self._deaths[member]
        if deaths <= spec.resources.retries:
            self._progress.died(spec)
            return True
        self._ended.add(member)
        error = trial.get_pickled_error() or RuntimeError(
            f"its worker process was killed or crashed, {deaths} times; the usual reasons are too "
            f"little memory, and no progress for {spec.resources.stall_minutes} minutes "
            "(resources.stall_minutes); the log of the worker says where it stood"
        )
        outcome = record_failure(spec, self._results, error)
        if "unwritable" in outcome:
            self.unwritable = outcome
        else:
            self._progress.finished(spec, outcome)
        return False
