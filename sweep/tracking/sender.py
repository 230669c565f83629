"""Send trials to one tracker, so that a trial that it has already is not sent again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from xlt.data.core.errors import InputError
from xlt.sweep.tracking.registry import Destination, Tracker
from xlt.sweep.tracking.runs import find_digest, read_run
from xlt.trainables.results.result import Results

Outcome = Literal["sent", "replaced", "unchanged"]


class Sender:
    """Sends trials of an experiment to a tracker, which is opened for the first of them.

    Args:
        destination: The tracker.
        location: Results location of the trials.
        experiment: Name of the experiment.
        with_artifacts: Whether files of the trials are sent, too.
    """

    def __init__(
        self, destination: Destination, location: Results, experiment: str, with_artifacts: bool
    ) -> None:
        self.destination = destination
        self._location, self._experiment = location, experiment
        self._with_artifacts = with_artifacts
        self._tracker: Tracker | None = None

    def connect(self) -> Tracker:
        """Open the tracker, unless it is open.

        Raises:
            InputError: The tracker cannot be used.
        """
        if self._tracker is None:
            self._tracker = self.destination.open(self._experiment)
        return self._tracker

    def send(self, record: Mapping[str, Any]) -> Outcome:
        """Send a trial, unless the tracker has a run of the same record.

        Args:
            record: Content of trial.json or error.json.

        Raises:
            InputError: The tracker cannot be used. The next call connects to it again, because it
                may hold a part of the run.
        """
        try:
            tracker = self.connect()
            trial_id, known = str(record["trial_id"]), tracker.known
            digest = find_digest(record, self._with_artifacts)
            if known.get(trial_id) == digest:
                return "unchanged"
            run = read_run(
                self._location, self._experiment, record, with_artifacts=self._with_artifacts
            )
            tracker.send(run)
        except InputError:
            self._tracker = None
            raise
        was_known = trial_id in known
        known[trial_id] = digest
        return "replaced" if was_known else "sent"


def send_all(sender: Sender, records: Sequence[Mapping[str, Any]]) -> Counter[Outcome]:
    """Send trials in order; return how many were sent, replaced and unchanged.

    Raises:
        InputError: The tracker cannot be used; the error says how many trials it lacks.
    """
    counts: Counter[Outcome] = Counter()
    for record in records:
        try:
            counts[sender.send(record)] += 1
        except InputError as error:
            raise InputError(
                f"{sender.destination}: {error}; it has {counts.total()} of {len(records)} trials, "
                "and the same command sends the others"
            ) from error
    return counts
