"""Runs as folders of TensorBoard: scalars by step, and settings for its HParams tab."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xlt.data.core.files import to_json
from xlt.sweep.tracking.problems import failed
from xlt.sweep.tracking.runs import TrackedRun

FOLDER = "tensorboard"
"""Default folder, in the one where ``xlt`` is started."""
MARKER = "xlt-run.json"
"""File with the digest of a complete run; TensorBoard ignores it."""
EVENTS = "events.out.tfevents.{time}.xlt"
"""Name of an event file. Writers of TensorBoard add the name of the machine instead."""


class TensorboardRuns:
    """Runs of an experiment in a log folder: FOLDER/EXPERIMENT/CELL/TRIAL.

    Args:
        place: The folder; empty: :data:`FOLDER`.
        experiment: Name of the experiment.

    Raises:
        InputError: The folder cannot be used.
    """

    def __init__(self, place: str, experiment: str) -> None:
        self._folder = Path(place or FOLDER).expanduser().absolute() / experiment
        self._where = f"TensorBoard's folder {place or FOLDER}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.known = {
                file.parent.name: str(json.loads(file.read_text("utf-8")).get("digest", ""))
                for file in self._folder.glob(f"*/*/{MARKER}")
            }
        except (OSError, ValueError) as error:
            raise failed(self._where, error) from error

    def send(self, run: TrackedRun) -> None:
        """Write a folder beside its final place, then move it there."""
        target = self._folder / re.sub(r"[^A-Za-z0-9.]+", "-", run.cell) / run.trial_id
        try:
            target.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder.parent, prefix=".xlt-") as scratch:
                folder = Path(scratch) / "run"
                folder.mkdir()
                _write_events(folder, run)
                for name, content in run.artifacts.items():
                    (folder / name).write_bytes(content)
                (folder / MARKER).write_bytes(to_json({"digest": run.digest}))
                shutil.rmtree(target, ignore_errors=True)
                folder.rename(target)
        except OSError as error:
            raise failed(self._where, error) from error


def _write_events(folder: Path, run: TrackedRun) -> None:
    """Write the event file of a run."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import scalar, text

    writer = RecordWriter(str(folder / EVENTS.format(time=round(run.ended))))
    try:
        start = Event(wall_time=run.started, file_version="brain.Event:2")
        writer.write(start.SerializeToString())
        last = run.history[-1][0] if run.history else 0
        signature = "".join(f"| {name} | {value} |\n" for name, value in run.tags.items())
        summaries = [(0, summary) for summary in _list_hparams(run)]
        summaries.append((0, text("signature", f"| name | value |\n|---|---|\n{signature}")))
        for step, values in (*run.history, (last, run.metrics)):
            summaries += [(step, scalar(name, value)) for name, value in values.items()]
        for step, summary in summaries:
            event = Event(wall_time=run.ended, step=step, summary=summary)
            writer.write(event.SerializeToString())
    finally:
        writer.close()


def _list_hparams(run: TrackedRun) -> Iterator[Any]:
    """Summaries of the HParams plugin: the settings, the cell as group, and the status.

    tensorboardX makes them without group and status.
    """
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import hparams

    for summary in hparams(
        {**run.params, "trial_id": run.trial_id}, dict.fromkeys(run.metrics, 0.0)
    ):
        plugin = summary.value[0].metadata.plugin_data
        data = HParamsPluginData.FromString(plugin.content)
        if data.HasField("session_start_info"):
            data.session_start_info.group_name = run.cell
            data.session_start_info.start_time_secs = run.started
        if data.HasField("session_end_info"):
            success, failure = "STATUS_SUCCESS", "STATUS_FAILURE"
            name = success if run.status == "finished" else failure
            data.session_end_info.status = _status(name)
            data.session_end_info.end_time_secs = run.ended
        plugin.content = data.SerializeToString()
        yield Summary.FromString(summary.SerializeToString())


def _status(name: str) -> int:
    from tensorboardX.proto.api_pb2 import Status

    return int(Status.Value(name))
