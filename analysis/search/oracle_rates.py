"""Learning rates that are best on the test rows, beside the rates that were run.

They give an upper bound for any choice of learning rates among these trials. They are not a choice:
nothing that is computed here is written into an experiment.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import Run
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class OracleRate:
    """Scores of a cell at every learning rate with which all its runs are done.

    Attributes:
        base_model: Row of the table.
        pattern: Column of the table.
        run_rate: Learning rate of the experiment.
        scores: Learning rate, ``run_rate`` included -> mean test score over the planned runs.
    """

    base_model: str
    pattern: str
    run_rate: float
    scores: Mapping[float, float]

    @property
    def best_rate(self) -> float:
        """Rate with the highest test score; the smallest of equal ones."""
        return min(self.scores, key=lambda rate: (-self.scores[rate], rate))

    @property
    def lost(self) -> float:
        """Difference between the best score and that of the rate that was run."""
        return self.scores[self.best_rate] - self.scores[self.run_rate]


def find_oracle_rates(collected: Collected, metric: str = "auroc") -> list[OracleRate]:
    """Find trials that differ from those of an experiment only in the learning rate.

    Args:
        collected: Trials of the experiment; those of other experiments in the same location count,
            too.
        metric: Name of a metric.

    Returns:
        One record for each cell whose planned runs are all done with one learning rate, in planned
        order. Trials with other data, versions or precision than the experiment do not count.

    Raises:
        InputError: The metric is unknown, or the location cannot be read.
    """
    if collected.metrics and metric not in collected.metrics:
        raise InputError(unknown("metric", metric, collected.metrics))
    location = Results(collected.uri)
    states = location.states(i for i in location.trial_ids() if i not in collected.records)
    others = [s.record for s in states.values() if s.state == "done" and s.record]
    at: dict[str, dict[float, dict[Run, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in [*collected.records.values(), *others]:
        if "metrics" not in record or not _belongs(record["signature"], collected.signature):
            continue
        spec, score = TrialSpec.parse(record["spec"]), record["metrics"].get(metric)
        rate = spec.learning_rate
        if spec.dev is None and score is not None and rate is not None:
            at[_identity_without_rate(spec)][rate][spec.draw_index, spec.seed] = score
    rates_of_cells = []
    for key, rows in collected.by_cell.items():
        specs = [
            TrialSpec.parse(collected.records[row.trial_id]["spec"]) for row in rows if row.is_done
        ]
        rates = {spec.learning_rate for spec in specs if spec.learning_rate is not None}
        if len(rates) != 1:  # a baseline has none
            continue
        runs, run_rate = [row.run for row in rows], rates.pop()
        scores = {
            rate: sum(of_run[run] for run in runs) / len(runs)
            for rate, of_run in sorted(at[_identity_without_rate(specs[0])].items())
            if of_run.keys() >= set(runs)
        }
        if run_rate in scores:
            rates_of_cells.append(OracleRate(*key, run_rate, scores))
    return rates_of_cells


def _belongs(signature: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether a signature agrees with the experiment in all that must agree within it."""
    flat = {**signature, **signature["versions"]}
    return all(str(flat.get(key)) == value for key, value in wanted.items())


def _identity_without_rate(spec: TrialSpec) -> str:
    """Identity of a trial without its learning rate, draw and seed."""
    left_out = {"learning_rate", "draw_index", "seed"}
    identity = {key: value for key, value in spec.identity().items() if key not in left_out}
    return json.dumps(identity, sort_keys=True)


def make_oracle_table(
    oracles: Sequence[OracleRate], experiment: str, metric: str = "auroc"
) -> Table:
    """Make a table with a line for each cell that ran at several learning rates.

    Args:
        oracles: See :func:`find_oracle_rates`.
        experiment: Name of the experiment.
        metric: Name of the metric of their scores.
    """
    name = metric_label(metric)
    several = [oracle for oracle in oracles if len(oracle.scores) > 1]
    num_single = len(oracles) - len(several)
    caption = (
        f"Learning rates of experiment {first_line(experiment)} beside those that are best ON THE "
        f"TEST ROWS ({name}).",
    )
    heading = ("base model", "pattern", "rates", "rate as run", f"test {name}",
               "best on test rows", f"test {name}", "lost")  # fmt: skip
    lines = tuple(
        (
            first_line(oracle.base_model), first_line(oracle.pattern), str(len(oracle.scores)),
            f"{oracle.run_rate:g}", f"{oracle.scores[oracle.run_rate]:.3f}",
            f"{oracle.best_rate:g}", f"{oracle.scores[oracle.best_rate]:.3f}", f"{oracle.lost:.3f}",
        )
        for oracle in several
    )  # fmt: skip
    footnotes = (
        "Never choose a rate by this table or report its scores: the best of several means over "
        "the same test rows is too high even for another sample of them.",
        "rates: number of rates with which all runs of the cell are done in this location.",
        *[f"Left out: {num_single} cells, which ran at one rate."] * bool(num_single),
    )
    records = tuple(
        {
            "base_model": oracle.base_model, "pattern": oracle.pattern,
            "num_rates": len(oracle.scores),
            "learning_rate": oracle.run_rate, "score": oracle.scores[oracle.run_rate],
            "oracle_rate": oracle.best_rate, "oracle_score": oracle.scores[oracle.best_rate],
            "lost": oracle.lost,
        }
        for oracle in oracles
    )  # fmt: skip
    return Table("oracle-rates", caption, heading, lines, footnotes, records)
