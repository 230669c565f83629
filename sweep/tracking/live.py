"""Send trials to trackers while a sweep runs, without ever delaying it."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Self

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few, first_line
from xlt.sweep.tracking.registry import Destination
from xlt.sweep.tracking.sender import Sender
from xlt.sweep.tracking.settings import Tracking
from xlt.trainables.results.result import Results

REST_SECONDS = 60.0
"""Time for which a tracker that failed gets no trials."""
LAST_SECONDS = 30.0
"""Time that a driver whose trials have ended waits for its trackers."""


class LiveTracking:
    """Sends each trial when it ends: one thread for each tracker reads its folder and sends it.

    Args:
        tracking: The trackers.
        location: Results location of the trials.
        experiment: Name of the experiment.
        say: Receiver of sentences: one for each tracker when the block ends, and one when a tracker
            fails for another reason than before.
    """

    def __init__(
        self, tracking: Tracking, location: Results, experiment: str, say: Callable[[str], None]
    ) -> None:
        self._say, self._location, self._experiment = say, location, experiment
        self._artifacts = tracking.artifacts
        self._threads = [
            _SendingThread(destination, location, experiment, tracking.artifacts, say)
            for destination in tracking.destinations
        ]

    def __enter__(self) -> Self:
        """Start the threads, which connect to their trackers at once."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait a moment for the last trials, and say which trials a tracker lacks."""
        deadline = time.monotonic() + LAST_SECONDS
        for thread in self._threads:
            thread.queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            thread.say = None
            self._say(self._describe(thread))

    def ended(self, trial_id: str) -> None:
        """Note that a trial ended, and that its folder is complete."""
        for thread in self._threads:
            thread.missing[trial_id] = None
            thread.queue.put(trial_id)

    def _describe(self, thread: _SendingThread) -> str:
        missing = list(thread.missing)
        if not missing:
            return f"tracking: {thread.destination} has all {thread.num_sent} trials of this run"
        words = ["xlt", "track", self._location.uri, "--experiment", self._experiment]
        words += ["--to", str(thread.destination), *["--artifacts"] * self._artifacts]
        return (
            f"tracking: {len(missing)} trials are not in {thread.destination} "
            f"({thread.problem or 'it was too slow'}): {first_few(missing)}; "
            f"`{shlex.join(words)}` sends them"
        )


class _SendingThread(threading.Thread):
    """Sends trials to one tracker.

    Attributes:
        queue: Ids of trials that ended; None ends the thread.
        missing: Ids of trials that the tracker lacks.
        problem: Why the last trial could not be sent.
        num_sent: Number of trials that the tracker got.
        say: Receiver of a sentence on a new problem; None when nobody reads it any more.
    """

    def __init__(
        self, destination: Destination, location: Results, experiment: str, artifacts: bool,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        super().__init__(name=f"tracking {destination.name}", daemon=True)
        self.destination = destination
        self.queue: SimpleQueue[str | None] = SimpleQueue()
        self.missing: dict[str, None] = {}
        self.problem, self.num_sent = "", 0
        self.say: Callable[[str], None] | None = say
        self._location = location
        self._sender = Sender(destination, location, experiment, artifacts)

    def run(self) -> None:
        resumes = 0.0 if self._try([]) else time.monotonic() + REST_SECONDS
        while trial_id := self.queue.get():
            if time.monotonic() >= resumes and not self._try([trial_id]):
                resumes = time.monotonic() + REST_SECONDS
        if time.monotonic() >= resumes:
            self._try(list(self.missing))

    def _try(self, trial_ids: Iterable[str]) -> bool:
        """Connect, and send trials until one fails; return whether nothing failed."""
        try:
            self._sender.connect()
            for trial_id in trial_ids:
                state = self._location.state(trial_id)
                if state.record is None:
                    raise InputError(f"trial {trial_id} is {state.state}")
                self._sender.send(state.record)
                self.missing.pop(trial_id, None)
                self.num_sent += 1
        except Exception as error:  # of any package, and it must not end the thread
            self._note_problem(first_line(str(error)))
            return False
        return True

    def _note_problem(self, problem: str) -> None:
        say = self.say  # the block may end at any moment
        if say and problem != self.problem:
            say(
                f"tracking: {self.destination}: {problem}; trials go on without it; the next try "
                f"is in {REST_SECONDS:.0f} s"
            )
        self.problem = problem
