"""TrackedRun: what trackers get of a trial, read from its result folder.

A tracker may belong to other people, so a run holds no texts of rows or prompts, no paths and no
names of machines.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json, to_parquet
from xlt.trainables.results.layout import RECORD, TrialTable, table_name
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import find_table_sha256, is_finite
from xlt.trainables.spec.prompt import BY_LANGUAGE
from xlt.trainables.spec.trial_spec import TrialSpec

RUN_FORMAT = 1
"""Version of the content of runs; runs of another version are replaced."""

Value = str | int | float | bool
"""Value of a setting."""


@dataclass(frozen=True)
class TrackedRun:
    """A trial that ended.

    Attributes:
        trial_id: Name of the run.
        experiment: Name of the experiment, the project of the run.
        cell: Base model and pattern, the group of the run.
        status: How the trial ended.
        digest: SHA-256 of everything that the run is made of; equal runs are not sent again.
        params: Dotted name of each setting that can change the result -> value.
        tags: ``state``, and the signature of the result (versions, device, data fingerprint ...),
            or the type of a failed trial's error.
        metrics: Metrics on the test rows, those in each test language (``ja/f1``), and seconds of
            each stage (``seconds/fit``).
        history: Optimiser steps -> ``train/loss`` and others at that step.
        ended: Time when the trial ended, in seconds since 1970.
        artifacts: File name -> content, if files are sent.
    """

    trial_id: str
    experiment: str
    cell: str
    status: Literal["finished", "failed"]
    digest: str
    params: Mapping[str, Value]
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[tuple[int, Mapping[str, float]]] = ()
    ended: float = 0.0
    artifacts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def started(self) -> float:
        """Time when the trial started: its end without the seconds of its stages."""
        spent = (v for name, v in self.metrics.items() if name.startswith("seconds/"))
        return self.ended - sum(spent)


def find_digest(record: Mapping[str, Any], with_artifacts: bool) -> str:
    """Digest of the run that :func:`read_run` makes of a record with these arguments."""
    content = json.dumps([RUN_FORMAT, with_artifacts, record], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_run(
    location: Results, experiment: str, record: Mapping[str, Any], *, with_artifacts: bool
) -> TrackedRun:
    """Read what trackers get of a trial that is done or failed.

    Args:
        location: Results location.
        experiment: Name of the experiment.
        record: Content of trial.json or error.json.
        with_artifacts: Whether to read predictions, and a record without texts and paths.

    Raises:
        InputError: The files of the trial cannot be used.
    """
    spec = TrialSpec.parse(record["spec"])
    settings = _list_settings(spec)
    is_done = "metrics" in record
    run = TrackedRun(
        trial_id=spec.trial_id,
        experiment=experiment,
        cell=str(spec.cell),
        status="finished" if is_done else "failed",
        digest=find_digest(record, with_artifacts),
        params={name: value for name, value in _flatten(settings) if value not in (None, "")},
        tags={"state": "done"} | _list_tags(record) if is_done else _name_error(record),
        ended=time.time(),
    )
    if not is_done:
        return run
    try:
        changed = location.fs.get_file_info(location.record_path(run.trial_id)).mtime
        history = _read(location, record, "history")
        predictions = _read(location, record, "predictions") if with_artifacts else None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"files of trial {run.trial_id} cannot be read: {error}") from error
    return replace(
        run,
        metrics=dict(_list_metrics(record)),
        history=list(_list_steps(history)),
        ended=changed.timestamp() if changed else run.ended,
        artifacts={} if predictions is None else _list_files(record, settings, predictions),
    )


def _read(location: Results, record: Mapping[str, Any], table: TrialTable) -> pa.Table:
    """Read a table of the verified trial; another process may have replaced it since."""
    sha256 = find_table_sha256(record, table)
    return location.read_table(record["trial_id"], table, sha256=sha256)


def _list_settings(spec: TrialSpec) -> dict[str, Any]:
    """The settings that enter the trial id, without the texts of prompts."""
    settings = spec.identity()
    if settings.get("prompt"):
        prompt = settings["prompt"].items()
        settings["prompt"] = {name: value for name, value in prompt if name not in BY_LANGUAGE}
    return settings


def _list_tags(record: Mapping[str, Any]) -> dict[str, str]:
    """The signature of a result."""
    return {name: str(value) for name, value in _flatten(record["signature"]) if value is not None}


def _name_error(record: Mapping[str, Any]) -> dict[str, str]:
    """The type of a failed trial's error; its text may hold paths and names of machines."""
    kind = str(record.get("error", "")).partition(":")[0]
    return {"state": "failed"} | ({"error": kind} if kind.isidentifier() else {})


def _list_metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    by_lang = record.get("metrics_by_lang", {})
    for lang, metrics in {"": record["metrics"], **by_lang}.items():
        for name, value in metrics.items():
            yield (f"{lang}/{name}" if lang else name), float(value)
    timings = record.get("timings") or {}
    yield from ((f"seconds/{name}", float(v)) for name, v in timings.items() if is_finite(v))


def _list_steps(history: pa.Table) -> Iterator[tuple[int, dict[str, float]]]:
    for row in history.to_pylist():
        step = row.pop("step", None)
        if step is not None:
            yield step, {f"train/{name}": float(v) for name, v in row.items() if is_finite(v)}


def _list_files(
    record: Mapping[str, Any], settings: Mapping[str, Any], predictions: pa.Table
) -> dict[str, bytes]:
    """The predictions, and the record without texts, paths and facts of the execution."""
    shown = {name: value for name, value in record.items() if name not in ("execution", "sha256")}
    return {
        RECORD: to_json(shown | {"spec": settings}),
        table_name("predictions"): to_parquet(predictions),
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); a list becomes text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else value
