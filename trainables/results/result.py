"""The result folder: one trial's files under any pyarrow.fs URI, trial.json written last."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.files import to_json, to_parquet
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.location import ResultsRoot
from xlt.trainables.results.plan import Plan
from xlt.trainables.results.search_plan import SearchPlan
from xlt.trainables.spec.trial_spec import RESULT_FORMAT, TrialSpec

RECORD = "trial.json"
FAILURE = "error.json"
PLAN_SUFFIX = ".plan.json"
FEWEST_LISTED = 16
"""From so many trials of an object store on, files are listed together, a thousand a request."""
State = Literal["done", "failed", "corrupt", "absent"]


@dataclass(frozen=True)
class TrialResult:
    """What a trial produced.

    Attributes:
        spec: The trial.
        metrics: Name -> value on the test rows, each a fraction of 1.
        signature: What the numbers depend on: versions, data, device, threads.
        timings: Seconds by stage.
        convergence: Whether it trained, see :func:`convergence`.
        predictions: num_test_rows x (id, lang, split, y_true, y_score); y_score is the probability
            of class 1, or of more than two classes a list of one probability each.
        history: num_steps x (step, epoch, learning_rate, loss, grad_norm).
        train_rows: num_train_rows x (id, lang, label, y_score), in drawing order; y_score is the
            probability when the row was last trained on.
        model: File name -> content of configuration and safetensors; empty where the keep policy
            drops them.
        attributions: How test rows were explained, if that was asked for; not part of the record,
            see :func:`save_attributions`.
        execution: How it was computed: workers, micro-batches, peak memory, where it went on.
    """

    spec: TrialSpec
    metrics: dict[str, float]
    signature: dict[str, Any]
    timings: dict[str, float]
    convergence: dict[str, float]
    predictions: pa.Table
    history: pa.Table
    train_rows: pa.Table
    model: dict[str, bytes]
    attributions: Attributions | None = None
    execution: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialState:
    """What lies in a trial's folder.

    Attributes:
        state: done (verified), failed (error.json), corrupt (half-written or damaged), absent.
        detail: Why it failed or is corrupt; empty otherwise.
        record: The content of trial.json or error.json; a verified spec with its defaults.
    """

    state: State
    detail: str = ""
    record: Mapping[str, Any] | None = None


class Results(ResultsRoot):
    """A results location: ``trials/<trial_id>/``, ``experiments/``, ``searches/`` under a root."""

    # --- experiments ------------------------------------------------------------------------

    def experiments(self) -> list[str]:
        """Names of the experiments that were run into this location, sorted."""
        selector = pafs.FileSelector(self.path("experiments"), allow_not_found=True)
        names = [info.base_name for info in self.fs.get_file_info(selector)]
        return sorted(n.removesuffix(PLAN_SUFFIX) for n in names if n.endswith(PLAN_SUFFIX))

    def save_experiment(self, plan: Plan, as_run: str) -> None:
        """Write an experiment's plan, and its YAML text as it is run."""
        self.make_folder("experiments")
        self.write(f"experiments/{plan.experiment}.yaml", as_run.encode())
        self.write(
            f"experiments/{plan.experiment}{PLAN_SUFFIX}", to_json(plan.model_dump(mode="json"))
        )

    def read_plan(self, experiment: str) -> Plan:
        """The plan of an experiment.

        Raises:
            InputError: No such experiment here, or its plan is damaged.
        """
        name = f"{experiment}{PLAN_SUFFIX}"
        if not self.exists("experiments", name):
            raise InputError(unknown("experiment", experiment, self.experiments()), self.uri)
        return Plan.parse(self.read_json("experiments", name), self.path("experiments", name))

    def save_search(self, plan: SearchPlan) -> None:
        """Write what a search tries, beside the plan of its experiment."""
        self.make_folder("searches")
        name = f"searches/{plan.experiment}{PLAN_SUFFIX}"
        self.write(name, to_json(plan.model_dump(mode="json")))

    def read_search(self, experiment: str) -> SearchPlan | None:
        """The last search of an experiment; None if there was none.

        Raises:
            InputError: Its plan is damaged.
        """
        name = f"{experiment}{PLAN_SUFFIX}"
        if not self.exists("searches", name):
            return None
        return SearchPlan.parse(self.read_json("searches", name), self.path("searches", name))

    # --- trials -----------------------------------------------------------------------------

    def save(self, result: TrialResult) -> dict[str, Any]:
        """Write a trial's folder, trial.json last; returns the record."""
        trial_id = result.spec.trial_id
        folder = f"trials/{trial_id}"
        files = {
            "predictions.parquet": to_parquet(result.predictions),
            "history.parquet": to_parquet(result.history),
            "train_rows.parquet": to_parquet(result.train_rows),
            **{f"model/{name}": content for name, content in result.model.items()},
        }
        self.make_folder(folder, *(["model"] if result.model else []))
        for name, content in files.items():
            self.write(f"{folder}/{name}", content)
        record = {
            "format": RESULT_FORMAT,
            "trial_id": trial_id,
            "spec": result.spec.model_dump(mode="json"),
            "metrics": result.metrics,
            "signature": result.signature,
            "timings": result.timings,
            "execution": result.execution,
            "convergence": result.convergence,
            "files": {
                name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in files.items()
            },
        }
        self.write(f"{folder}/{RECORD}", to_json(record))
        if self.exists(folder, FAILURE):
            self.fs.delete_file(self.path(folder, FAILURE))
        return record

    def save_failure(self, spec: TrialSpec, error: str, traceback: str) -> None:
        """Record why a trial failed; the next run tries it again."""
        folder = f"trials/{spec.trial_id}"
        self.make_folder(folder)
        record = {
            "format": RESULT_FORMAT,
            "trial_id": spec.trial_id,
            "spec": spec.model_dump(mode="json"),
            "error": error,
            "traceback": traceback,
        }
        self.write(f"{folder}/{FAILURE}", to_json(record))

    def state(self, trial_id: str) -> TrialState:
        """Read and verify one trial's folder.

        Raises:
            InputError: The location cannot be read, which says nothing about the trial.
        """
        return self._state(trial_id, None)

    def _state(self, trial_id: str, sizes: dict[str, int] | None) -> TrialState:
        """:meth:`state` of a folder with these files; None: they are not listed yet."""
        folder = f"trials/{trial_id}"
        try:
            sizes = self.sizes(folder) if sizes is None else sizes
            if RECORD in sizes:
                record = self.read_json(folder, RECORD)
                spec = self._verify(folder, trial_id, record, sizes)
                return TrialState("done", record=record | {"spec": spec.model_dump(mode="json")})
            if FAILURE in sizes:
                record = self.read_json(folder, FAILURE)
                return TrialState("failed", str(record.get("error")), record)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        except InputError as error:
            return TrialState("corrupt", str(error))
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            return TrialState("corrupt", f"the record has not the form of a trial's: {error!r}")
        if sizes:
            return TrialState("corrupt", f"half-written: {sorted(sizes)} without {RECORD}")
        return TrialState("absent")

    def states(self, trial_ids: Iterable[str]) -> dict[str, TrialState]:
        """:meth:`state` of many trials."""
        ids = list(trial_ids)
        if not self.is_object_store or len(ids) < FEWEST_LISTED:
            return dict(zip(ids, self.side_by_side(self.state, ids), strict=True))
        listed: dict[str, dict[str, int]] = {trial_id: {} for trial_id in ids}
        try:
            for path, size in self.sizes("trials").items():
                listed.get(path.partition("/")[0], {})[path.partition("/")[2]] = size
        except OSError as error:
            raise self._unreadable("trials", error) from error
        found = self.side_by_side(lambda trial_id: self._state(trial_id, listed[trial_id]), ids)
        return dict(zip(ids, found, strict=True))

    def trial_ids(self) -> list[str]:
        """Every trial folder, sorted."""
        selector = pafs.FileSelector(self.path("trials"), allow_not_found=True)
        infos = self.fs.get_file_info(selector)
        return sorted(i.base_name for i in infos if i.type == pafs.FileType.Directory)

    def read_table(
        self,
        trial_id: str,
        name: str,
        columns: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> pa.Table:
        """A trial's parquet file, e.g. ``predictions.parquet``.

        Args:
            trial_id: The trial.
            name: Of the file.
            columns: Those to read, as far as they are there; None: all.
            sha256: Of the file as it was verified; None: whatever lies there.

        Raises:
            InputError: The file is not the verified one.
        """
        content = self.read("trials", trial_id, name)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise InputError(f"{name} was changed while it was read; start again")
        # Files this small are read faster without threads.
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=columns, use_threads=False)

    def set_aside(self, trial_id: str) -> str:
        """Move a damaged folder's files to ``set-aside/``; returns the new place."""
        place = f"{trial_id}-{uuid.uuid4().hex[:8]}"
        for name in self.sizes("trials", trial_id):
            self.make_folder("set-aside", place, *name.split("/")[:-1])
            moved = self.path("set-aside", place, name)
            self.fs.move(self.path("trials", trial_id, name), moved)
        self.fs.delete_dir(self.path("trials", trial_id))
        return f"set-aside/{place}"

    def remove_leftovers(self, trial_id: str) -> None:
        """Remove what a try that was cut off has written; an earlier failure stays recorded."""
        folder = f"trials/{trial_id}"
        for name in self.sizes(folder).keys() - {FAILURE}:
            self.fs.delete_file(self.path(folder, name))

    def _unreadable(self, folder: str, error: OSError) -> InputError:
        problem = f"{self.path(folder)} cannot be read: {error}"
        return InputError(f"{problem}; mend the access and start again")

    def _verify(
        self, folder: str, trial_id: str, record: dict[str, Any], sizes: dict[str, int]
    ) -> TrialSpec:
        """Raise InputError unless the record and its files are whole and belong together."""
        if record["format"] != RESULT_FORMAT:
            raise InputError(f"format {record['format']}, expected {RESULT_FORMAT}")
        spec = TrialSpec.parse(record["spec"])
        if spec.trial_id != trial_id:
            raise InputError("the spec in trial.json is not that of the folder's name")
        if not record["metrics"]:
            raise InputError("trial.json has no metrics")
        if bad := {k: v for k, v in record["metrics"].items() if not is_finite(v)}:
            raise InputError(f"metrics in trial.json that are not finite numbers: {bad}")
        signature = record["signature"]
        if not isinstance(signature, dict) or not isinstance(signature.get("versions"), dict):
            raise InputError("trial.json has no signature")
        for name, expected in record["files"].items():
            if sizes.get(name) != expected["size"]:
                raise InputError(f"{name} has {sizes.get(name)} bytes, expected {expected['size']}")
            # Weights are large and no table is made from them, so their size must do.
            if not name.startswith("model/"):
                digest = hashlib.sha256(self.read(folder, name)).hexdigest()
                if digest != expected["sha256"]:
                    raise InputError(f"{name} was changed after it was written")
        return spec


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float64 holds; NaN compares false."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max
