"""Result folders of one experiment -> one tidy table; mixed signatures refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xlt.analysis.trials.predictions import Predictions
from xlt.analysis.trials.signatures import Signed, compare
from xlt.analysis.trials.training_state import training_state
from xlt.analysis.trials.trial_row import COLUMNS, TrialRow
from xlt.data.core.errors import InputError
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState, is_finite
from xlt.trainables.results.verified import read_verified_states
from xlt.trainables.spec.cell_key import CellKey

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Collected:
    """Everything that tables are made from.

    Attributes:
        uri: The results location.
        plan: Cells, trials and reasons, as written before the experiment ran.
        rows: num_trials rows, in the order of the plan.
        metrics: Names of the metric columns, in the order in which trials report them.
        signature: What all done trials share, e.g. versions (signatures.py).
        warnings: Differences that are allowed and what the data were found to be, a sentence each.
        records: Trial id -> the content of trial.json or error.json, of trials that have one.
    """

    uri: str
    plan: Plan
    rows: Sequence[TrialRow]
    metrics: tuple[str, ...]
    signature: Mapping[str, str]
    warnings: tuple[str, ...]
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def table(self) -> pa.Table:
        """The rows as a file has them: :data:`COLUMNS` and one float64 column for each metric."""
        fields = [*COLUMNS, *(pa.field(name, pa.float64()) for name in self.metrics)]
        return pa.Table.from_pylist([row.columns() for row in self.rows], schema=pa.schema(fields))

    def to_pandas(self) -> pd.DataFrame:
        """The trials as a DataFrame for notebooks: a row a trial, columns as in :attr:`table`.

        Counts are ``Int64``, which holds NA where a trial is not done, so that they stay integers.
        """
        import pandas as pd

        frame: pd.DataFrame = self.table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        return frame

    @cached_property
    def predictions(self) -> Predictions:
        """What the done trials predicted, each file read once."""
        done = {i: r for i, r in self.records.items() if "files" in r}
        return Predictions(Results(self.uri), self.plan.experiment, done)

    @cached_property
    def by_cell(self) -> Mapping[CellKey, Sequence[TrialRow]]:
        """The rows of each cell of the plan; none for a cell without trials."""
        cells: dict[CellKey, list[TrialRow]] = {cell.key: [] for cell in self.plan.cells}
        for row in self.rows:
            cells[row.cell].append(row)
        return cells


@dataclass(frozen=True)
class _Trial:
    """A planned trial with what lies in its folder."""

    cell: PlannedCell
    planned: PlannedTrial
    found: TrialState

    @property
    def record(self) -> Mapping[str, Any]:
        """The content of trial.json; empty unless done."""
        return self.found.record or {} if self.found.state == "done" else {}

    @property
    def signed(self) -> Signed:
        """The trial for comparison, ``versions`` beside the other keys; done trials only."""
        flat = dict(self.record["signature"])
        flat = {**flat.pop("versions"), **flat}
        return Signed(self.planned.trial_id, self.cell.key, flat)


def collect(
    results: Results | str,
    experiment: str | None = None,
    *,
    only: str = "",
    allow_mixed: bool = False,
) -> Collected:
    """Read the result folders of an experiment.

    Args:
        results: The results location, or its local path or URI.
        experiment: Name of the experiment; None: the only one in the location.
        only: Cells to keep, e.g. ``model=elyza,pattern=ja16``; empty: all.
        allow_mixed: Make refused differences warnings: for reading what is there, never for
            averaging it.

    Returns:
        One row a planned trial, in the order of the plan, whatever its state.

    Raises:
        InputError: Not a results location or one of another format version, no such experiment,
            several and no name, a damaged plan, or done trials whose signatures do not belong
            together (signatures.py), every difference told with its trials.
    """
    location = Results(results) if isinstance(results, str) else results
    try:
        location.check()
        plan = location.read_plan(_choose(location, experiment))
        states = read_verified_states(location, plan.experiment, plan.trial_ids)
        plan = plan.select(only)
    except OSError as error:
        raise InputError(f"cannot be read: {error}", f"results {location.uri}") from error
    trials = [
        _Trial(cell, planned, _usable(cell, planned, states[planned.trial_id]))
        for cell in plan.cells
        for planned in cell.trials
    ]
    done = [trial for trial in trials if trial.found.state == "done"]
    signature, refused, warnings = compare([t.signed for t in done], plan.data_fingerprint)
    if refused and not allow_mixed:
        remedy = (
            "these are not averaged: remove the folders named above from trials/ and `xlt run` "
            "again, or use another results location"
        )
        raise InputError([*refused, remedy], f"experiment {plan.experiment} in {location.uri}")
    told = (*refused, *warnings, *plan.data_warnings, *_cut_texts(done))
    metrics = tuple(dict.fromkeys(name for trial in done for name in trial.record["metrics"]))
    rows = tuple(_row(plan.experiment, trial) for trial in trials)
    records = {t.planned.trial_id: t.found.record for t in trials if t.found.record}
    return Collected(location.uri, plan, rows, metrics, signature, told, records)


def _cut_texts(done: Iterable[_Trial]) -> list[str]:
    """Whose texts were longer than they are read, a sentence a base model."""
    most: dict[tuple[str, int], dict[str, int]] = {}
    for trial in done:
        key = trial.cell.base_model, trial.record["spec"]["training"]["max_length"]
        for split, count in trial.record.get("execution", {}).get("truncated_texts", {}).items():
            counts = most.setdefault(key, {})
            counts[split] = max(counts.get(split, 0), count)
    return [
        f"{model}: up to {counts['test']} test texts and {counts['train']} training texts of a "
        f"trial have more than {max_length} tokens and were cut"
        for (model, max_length), counts in most.items()
        if any(counts.values())
    ]


def _choose(location: Results, experiment: str | None) -> str:
    """The name that was given, or the only one there is."""
    names = location.experiments()
    if not names:
        raise InputError(
            "holds no experiment; run one into it with `xlt run`, or give another location",
            f"results {location.uri}",
        )
    if experiment is None and len(names) > 1:
        raise InputError(
            f"holds {len(names)} experiments, name one of them: {', '.join(names)}",
            f"results {location.uri}",
        )
    return names[0] if experiment is None else experiment


def _usable(cell: PlannedCell, planned: PlannedTrial, found: TrialState) -> TrialState:
    """The state; a verified trial of another cell than the plan says is corrupt."""
    if found.state != "done" or found.record is None:
        return found
    spec = found.record["spec"]
    planned_as = (cell.base_model, cell.pattern, planned.draw_index, planned.seed)
    if (
        spec["base_model"], spec["pattern"]["name"], spec["draw_index"], spec["seed"]
    ) != planned_as:  # fmt: skip
        problem = "the spec in trial.json is not that of the cell in the plan"
    elif clash := found.record["metrics"].keys() & set(COLUMNS.names):
        problem = f"metrics in trial.json with names of columns: {sorted(clash)}"
    else:
        return found
    return TrialState("corrupt", problem, found.record)


def _row(experiment: str, trial: _Trial) -> TrialRow:
    row = TrialRow(
        experiment=experiment,
        cell=trial.cell.key,
        draw_index=trial.planned.draw_index,
        seed=trial.planned.seed,
        trial_id=trial.planned.trial_id,
        state="missing" if trial.found.state == "absent" else trial.found.state,
        detail=trial.found.detail,
    )
    if not trial.record:
        return row
    spec, timings = trial.record["spec"], trial.record.get("timings")
    pattern = spec["pattern"]
    fit: Any = timings.get("fit") if isinstance(timings, dict) else None
    training, evidence = training_state(trial.record.get("convergence") or {})
    return replace(
        row,
        method=spec["method"],
        learning_rate=spec["learning_rate"],
        num_train_rows=pattern["source_rows"] + pattern["target_rows"],
        num_target_rows=pattern["target_rows"],
        num_test_rows=spec["sampling"]["test_rows"],
        device=str(trial.record["signature"].get("device")),
        fit_seconds=float(fit) if is_finite(fit) else None,
        training=training,
        training_evidence=evidence,
        metrics={name: float(value) for name, value in trial.record["metrics"].items()},
    )
