"""Tune callback: forwards events to the display and requeues trials whose process died."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

from ray import tune

from xlt.data.core.retry import retry
from xlt.sweep.backends.events import Failed, Finished, Preempted, Ready, Step, Unwritable
from xlt.sweep.backends.worker import record_failure
from xlt.sweep.driver.progress import Progress
from xlt.sweep.on_ray.deaths import explain_deaths, read_death, was_taken_away
from xlt.sweep.on_ray.preemption import request_preemption
from xlt.sweep.on_ray.tune.failed_starts import FailedStarts
from xlt.sweep.on_ray.tune.queue import TrialQueue
from xlt.sweep.on_ray.tune.reports import unwrap
from xlt.sweep.planning.launch_order import NO_WAITS, WaitsFor
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec

CHECKPOINT_SECONDS = 60.0
"""Time for trials to save checkpoints after the driver received SIGTERM. Batch systems kill one or
two minutes after SIGTERM, Kubernetes after 30 s by default."""


class Watcher(tune.Callback):
    """Forwards events of trials to the display, and requeues trials whose process died.

    This class counts deaths itself, because Tune's ``max_failures`` counts the death of a warm
    process once for each outstanding call: a single kill can use up three failures of a trial.
    Deaths before :class:`Ready` do not count for the trial, which has no part in them.

    Args:
        packs: Trials of each Tune trial, in launch order.
        results: Location of the result folders.
        progress: The display.
        waits_for: Trials that start after others.

    Attributes:
        queue: The searcher from which Tune gets trials.
        unwritable: The event of a trial whose result could not be written; None as long as
            results can be written.
        failed_starts: Count of processes that died before they were ready.
    """

    def __init__(
        self,
        packs: Sequence[Sequence[TrialSpec]],
        results: Results,
        progress: Progress,
        waits_for: WaitsFor = NO_WAITS,
    ) -> None:
        self._specs = [spec for pack in packs for spec in pack]
        self._results, self._progress = results, progress
        self._ended: set[int] = set()
        self._preempted: dict[str, set[int]] = defaultdict(set)
        self._ready: set[str] = set()
        self._deaths: Counter[int] = Counter()
        self._stop_time: float | None = None
        self._is_preemption_requested = False
        numbers = count()
        number_of = {spec.trial_id: number for number, spec in enumerate(self._specs)}
        self.queue = TrialQueue(
            ([next(numbers) for _ in pack] for pack in packs),
            {
                number_of[later]: {number_of[i] for i in earlier if i in number_of}
                for later, earlier in waits_for.items()
                if later in number_of
            },
        )
        self.unwritable: Unwritable | None = None
        self.failed_starts = FailedStarts()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its callbacks, but a terminal cannot be pickled."""
        return {}

    @property
    def is_over(self) -> bool:
        """Whether every trial ended; False after Ctrl-C."""
        return len(self._ended) == len(self._specs)

    def must_stop(self) -> bool:
        """Return whether Tune must end all trials now.

        That is the case if results cannot be written or workers cannot be made, or if the time for
        checkpoints after :meth:`stop` is over.
        """
        stopped = self._stop_time
        is_late = stopped is not None and time.monotonic() - stopped > CHECKPOINT_SECONDS
        return self.unwritable is not None or bool(self.failed_starts.problem) or is_late

    def stop(self) -> None:
        """Start no more trials, and let running trials save a checkpoint and stop.

        A signal may call this method at any moment, so Ray is called later.
        """
        self.queue.is_closed = True
        self._stop_time = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Request preemption once after :meth:`stop`; Tune calls this several times a second."""
        if self._stop_time is not None and not self._is_preemption_requested:
            self._is_preemption_requested = True
            request_preemption()
            self._progress.stage("stopping: trials save checkpoints")

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Show that the trials of a pack started or restarted."""
        for member in trial.config["members"]:
            self._progress.started(self._specs[member])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Handle an event of a trial."""
        member, event = unwrap(result)
        spec = self._specs[member]
        match event:
            case Ready():
                self._ready.add(trial.trial_id)
                self.failed_starts.reset()
            case Step(step, num_steps, loss):
                self._progress.stepped(spec, step, num_steps, loss)
            case Preempted(step):
                self._preempted[trial.trial_id].add(member)
                self._progress.preempted(spec, step)
            case Finished() | Failed() | Unwritable():
                self._end(member, event)

    def _end(self, member: int, event: Finished | Failed | Unwritable) -> None:
        match event:
            case Finished(metrics):
                self._ended.add(member)
                self._progress.finished(self._specs[member], metrics)
            case Failed(error):
                self._ended.add(member)
                self._progress.failed(self._specs[member], error)
            case Unwritable():
                self.unwritable = event

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Requeue the preempted trials of a pack whose process ended normally."""
        self._ready.discard(trial.trial_id)
        self.queue.requeue(sorted(self._preempted.pop(trial.trial_id, ())), first=True)
        # Tune keeps running means of all reported numbers. For ten thousand trials they take more
        # than a hundred megabytes, and nobody reads them.
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Requeue the trials of a pack whose process died, or record their failure."""
        preempted = self._preempted.pop(trial.trial_id, set())
        self.queue.requeue(sorted(preempted), first=True)
        members = [m for m in trial.config["members"] if m not in self._ended | preempted]
        error = read_death(trial)
        is_made = trial.trial_id in self._ready or was_taken_away(str(error))
        self._ready.discard(trial.trial_id)
        if not is_made:
            self.failed_starts.add(error)
        again = [m for m in members if self._may_retry(m, error, is_made=is_made)]
        # Most deaths have a cause outside the trial. The last attempt runs alone, so that no other
        # trial of the pack can kill it, and after all waiting trials, when more memory is free.
        last = [m for m in again if self._deaths[m] == self._specs[m].resources.retries]
        self.queue.requeue([member for member in again if member not in last], first=True)
        for member in last:
            self.queue.requeue([member], first=False)

    def _may_retry(self, member: int, error: BaseException | str, *, is_made: bool) -> bool:
        """Return whether to retry a trial whose process died; if not, record how it ended."""
        spec = self._specs[member]
        state = retry(lambda: self._results.state(spec.trial_id))
        if state.record is not None and state.state == "done":  # died between writing and reporting
            self._end(member, Finished(state.record["metrics"], {}))
            return False
        retry(lambda: self._results.remove_leftovers(spec.trial_id))
        self._deaths[member] += is_made
        if self._deaths[member] <= spec.resources.retries:
            self._progress.died(spec)
            return True
        explained = explain_deaths(self._deaths[member], error)
        self._end(member, record_failure(spec, self._results, explained))
        return False
