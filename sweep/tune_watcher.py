"""What the driver hears of its trials while Tune runs them, and what it makes of a death."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ray import tune

from sweep.leaving import ask_to_leave
from sweep.progress import Progress
from sweep.tune_queue import TrialQueue
from sweep.worker import record_failure
from trainables.result import Results
from trainables.spec import TrialSpec

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

    def __init__(self, specs: Sequence[TrialSpec], results: Results, progress: Progress) -> None:
        self._specs, self._results, self._progress = specs, results, progress
        self._ended: set[str] = set()
        self._left: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._asked_to_leave: float | None = None
        self.queue = TrialQueue(len(specs))
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
        """Start nothing more, and have running trials write a checkpoint and end."""
        self.queue.is_closed = True
        self._asked_to_leave = time.monotonic()
        ask_to_leave()
        self._progress.stage("stopping: trials write checkpoints")

    def _spec(self, trial: Any) -> TrialSpec:
        index: int = trial.config["index"]
        return self._specs[index]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It began, or began again."""
        self._progress.started(self._spec(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """It got on, or ended."""
        spec = self._spec(trial)
        if "step" in result:
            self._progress.stepped(spec, result["step"], result["num_steps"], result["loss"])
        elif "unwritable" in result:
            self.unwritable = result
        elif "left" in result:
            self._left.add(trial.trial_id)
            self._progress.left(spec, result["left"])
            self.queue.again(trial.config["index"], now=True)
        elif "metrics" in result or "error" in result:
            self._ended.add(spec.trial_id)
            self._progress.finished(spec, result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process died, and no one else can record it."""
        spec = self._spec(trial)
        if trial.trial_id in self._left or spec.trial_id in self._ended:
            return
        state = self._results.state(spec.trial_id)
        if state.record is not None and state.state == "done":  # between its last file and report
            self._ended.add(spec.trial_id)
            self._progress.finished(spec, {"metrics": state.record["metrics"]})
            return
        self._results.remove_leftovers(spec.trial_id)
        self._deaths[spec.trial_id] += 1
        deaths = self._deaths[spec.trial_id]
        if deaths <= spec.resources.retries:
            # The first death mostly is the machine's. After another one it waits for the others:
            # where memory is short there is more of it at the end.
            self.queue.again(trial.config["index"], now=deaths == 1)
            self._progress.died(spec)
            return
        self._ended.add(spec.trial_id)
        ended = trial.get_pickled_error() or RuntimeError(
            f"its worker process was killed or crashed, {deaths} times; the usual reasons are too "
            f"little memory, and no progress for {spec.resources.stall_minutes} minutes "
            "(resources.stall_minutes); the log of the worker says where it stood"
        )
        outcome = record_failure(spec, self._results, ended)
        if "unwritable" in outcome:
            self.unwritable = outcome
        else:
            self._progress.finished(spec, outcome)
