"""collect: read the result folders of an experiment into one table with a row a trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xlt.analysis.trials.predictions import Predictions, TestedIn
from xlt.analysis.trials.signatures import Signed, compare
from xlt.analysis.trials.test_lang import tested_in
from xlt.analysis.trials.training_state import training_state
from xlt.analysis.trials.trial_row import COLUMNS, TrialRow
from xlt.analysis.trials.weigh import weigh
from xlt.data.core.errors import InputError
from xlt.data.dataset.languages import parse_language
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState, is_finite
from xlt.trainables.results.verified import read_verified_states
from xlt.trainables.spec.cell_key import CellKey

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Collected:
    """The trials of an experiment. All tables and figures are computed from it.

    Attributes:
        uri: Results location.
        plan: Cells and trials, as written before the experiment ran.
        rows: num_trials rows, in the order of the plan.
        metrics: Names of the metric columns, in the order in which trials report them.
        signature: Versions and settings that all done trials share (signatures.py).
        warnings: Sentences about allowed differences between trials, about the data and about
            texts that were cut.
        records: Trial id -> content of trial.json or error.json, if the trial has one.
        read: Predictions of the done trials in all test languages; each file is read once.
        prevalence: Share of class 1 at which the metrics of rows are computed (weigh.py); None:
            that of the test rows as drawn.
        test_lang: Language in which the metrics of all rows are computed (test_lang.py); None:
            each cell's target language.
    """

    uri: str
    plan: Plan
    rows: Sequence[TrialRow]
    metrics: tuple[str, ...]
    signature: Mapping[str, str]
    warnings: tuple[str, ...]
    read: Predictions
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prevalence: float | None = None
    test_lang: str | None = None

    @cached_property
    def table(self) -> pa.Table:
        """The rows as an Arrow table: :data:`COLUMNS`, then one float64 column for each metric."""
        fields = [*COLUMNS, *(pa.field(name, pa.float64()) for name in self.metrics)]
        return pa.Table.from_pylist([row.columns() for row in self.rows], schema=pa.schema(fields))

    def to_pandas(self) -> pd.DataFrame:
        """The trials as a DataFrame with one row a trial and the columns of :attr:`table`.

        Counts have the type ``Int64``, because it represents missing values of integers as NA.
        """
        import pandas as pd

        frame: pd.DataFrame = self.table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        return frame

    @cached_property
    def predictions(self) -> TestedIn:
        """Predictions of the done trials in the language of their metrics."""
        langs = {
            trial.trial_id: self.test_lang or cell.target_lang
            for cell in self.plan.cells
            if len(cell.test_langs) > 1
            for trial in cell.trials
        }
        return TestedIn(self.read, langs)

    @cached_property
    def by_cell(self) -> Mapping[CellKey, Sequence[TrialRow]]:
        """The rows of each cell in the plan; an empty list for a cell without trials."""
        cells: dict[CellKey, list[TrialRow]] = {cell.key: [] for cell in self.plan.cells}
        for row in self.rows:
            cells[row.cell].append(row)
        return cells


@dataclass(frozen=True)
class _Trial:
    """A planned trial and the state of its result folder."""

    cell: PlannedCell
    planned: PlannedTrial
    folder: TrialState

    @property
    def record(self) -> Mapping[str, Any]:
        """The content of trial.json; empty unless the trial is done."""
        return self.folder.record or {} if self.folder.state == "done" else {}

    @property
    def signed(self) -> Signed:
        """The signature of a done trial, with ``versions`` at the level of the other keys."""
        flat = dict(self.record["signature"])
        flat = {**flat.pop("versions"), **flat}
        return Signed(self.planned.trial_id, self.cell.key, flat)


def collect(
    results: Results | str,
    experiment: str | None = None,
    *,
    only: str = "",
    allow_mixed: bool = False,
    prevalence: float | str | None = None,
    test_lang: str | None = None,
) -> Collected:
    """Read the result folders of an experiment.

    Args:
        results: Results location, or its local path or URI.
        experiment: Name of the experiment; None selects the only one in the location.
        only: Cells to keep, e.g. ``model=elyza,pattern=ja16``; empty keeps all.
        allow_mixed: Whether refused differences between trials are only warnings. Use it to look
            at single trials, never to average them.
        prevalence: Share of class 1 at which metrics are computed, see :func:`weigh`; None: that
            of the test rows as drawn.
        test_lang: Language in which trials were tested, see :func:`tested_in`; None: the target
            language of each cell.

    Returns:
        The experiment, with one row for each planned trial in the order of the plan.

    Raises:
        InputError: The location cannot be read, has another format version, holds no such
            experiment, or holds several and no name is given; the plan is damaged; or signatures
            of done trials differ (signatures.py). The error lists each difference and its trials.
            Or :func:`weigh` refuses the prevalence, or :func:`tested_in` the language.
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
        _Trial(cell, planned, _check(cell, planned, states[planned.trial_id]))
        for cell in plan.cells
        for planned in cell.trials
    ]
    done = [trial for trial in trials if trial.folder.state == "done"]
    signature, refused, warnings = compare([t.signed for t in done], plan.data_fingerprint)
    if refused and not allow_mixed:
        remedy = (
            "these are not averaged: remove the folders named above from trials/ and `xlt run` "
            "again, or use another results location"
        )
        raise InputError([*refused, remedy], f"experiment {plan.experiment} in {location.uri}")
    sentences = (*refused, *warnings, *plan.data_warnings, *_cut_texts(done))
    metrics = tuple(dict.fromkeys(name for trial in done for name in trial.record["metrics"]))
    rows = tuple(_row(plan.experiment, trial) for trial in trials)
    records = {t.planned.trial_id: t.folder.record for t in trials if t.folder.record}
    finished = {trial.planned.trial_id: trial.record for trial in done}
    read = Predictions(location, plan.experiment, finished, len(plan.classes))
    collected = Collected(location.uri, plan, rows, metrics, signature, sentences, read, records)
    if test_lang is not None:
        collected = tested_in(collected, parse_language(test_lang))
    return collected if prevalence is None else weigh(collected, prevalence)


def _cut_texts(done: Iterable[_Trial]) -> list[str]:
    """One sentence for each base model whose texts were cut to its maximal length."""
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
    """The given name, or the name of the only experiment in the location."""
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


def _check(cell: PlannedCell, planned: PlannedTrial, folder: TrialState) -> TrialState:
    """The state of a folder; corrupt if its trial belongs to another cell than in the plan."""
    if folder.state != "done" or folder.record is None:
        return folder
    spec = folder.record["spec"]
    planned_as = (cell.base_model, cell.pattern, planned.draw_index, planned.seed)
    if (
        spec["base_model"], spec["pattern"]["name"], spec["draw_index"], spec["seed"]
    ) != planned_as:  # fmt: skip
        problem = "the spec in trial.json is not that of the cell in the plan"
    elif clash := folder.record["metrics"].keys() & set(COLUMNS.names):
        problem = f"metrics in trial.json with names of columns: {sorted(clash)}"
    else:
        return folder
    return TrialState("corrupt", problem, folder.record)


def _count_train_rows(pattern: Mapping[str, Any]) -> int:
    """Count the training rows of a pattern in a record; parsing it would take longer."""
    times = 2 if pattern.get("translate") == "train+source" else 1
    return int(times * pattern["source_rows"] + pattern["target_rows"])


def _row(experiment: str, trial: _Trial) -> TrialRow:
    row = TrialRow(
        experiment=experiment,
        cell=trial.cell.key,
        draw_index=trial.planned.draw_index,
        seed=trial.planned.seed,
        trial_id=trial.planned.trial_id,
        state="missing" if trial.folder.state == "absent" else trial.folder.state,
        detail=trial.folder.detail,
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
        num_train_rows=_count_train_rows(pattern),
        num_target_rows=pattern["target_rows"],
        num_test_rows=trial.record.get("test_rows_by_lang", {}).get(
            trial.cell.target_lang, spec["sampling"]["test_rows"]
        ),
        device=str(trial.record["signature"].get("device")),
        fit_seconds=float(fit) if is_finite(fit) else None,
        training=training,
        training_evidence=evidence,
        metrics={name: float(value) for name, value in trial.record["metrics"].items()},
    )
