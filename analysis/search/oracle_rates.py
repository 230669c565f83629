"""What rates chosen on the test rows would have given, beside those that were run.

An upper bound on what any choice of learning rates could reach with these trials, and never a
choice: nothing that is computed here is written into an experiment.
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
    """A cell at every learning rate that all of its runs were done with.

    Attributes:
        base_model: Table row.
        pattern: Table column.
        run_rate: Learning rate of the experiment.
        scores: Learning rate -> mean test score over the planned runs, ``run_rate`` included.
    """

    base_model: str
    pattern: str
    run_rate: float
    scores: Mapping[float, float]

    @property
    def best_rate(self) -> float:
        """Highest on the test rows; of equal ones the smallest."""
        return min(self.scores, key=lambda rate: (-self.scores[rate], rate))

    @property
    def lost(self) -> float:
        """What the rate that was run scores below the best."""
        return self.scores[self.best_rate] - self.scores[self.run_rate]


def oracle_rates(collected: Collected, metric: str = "auroc") -> list[OracleRate]:
    """Find the trials that differ from an experiment's in nothing but the learning rate.

    Args:
        collected: The experiment; trials of others in the same results location count, too.
        metric: A metric of the test rows, larger is better.

    Returns:
        One a cell of which all planned runs are done with one learning rate, in planned order. A
        trial of other data, versions or precision than the experiment's is not taken.

    Raises:
        InputError: No such metric, or the location cannot be read.
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
        if spec.dev is None and score is not None:
            at[_but_rate(spec)][spec.learning_rate][spec.draw_index, spec.seed] = score
    found = []
    for key, rows in collected.by_cell.items():
        specs = [
            TrialSpec.parse(collected.records[row.trial_id]["spec"]) for row in rows if row.is_done
        ]
        rates = {spec.learning_rate for spec in specs}
        if len(rates) != 1:
            continue
        runs, run_rate = [row.run for row in rows], rates.pop()
        scores = {
            rate: sum(of_run[run] for run in runs) / len(runs)
            for rate, of_run in sorted(at[_but_rate(specs[0])].items())
            if of_run.keys() >= set(runs)
        }
        if run_rate in scores:
            found.append(OracleRate(*key, run_rate, scores))
    return found


def _belongs(signature: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether what must agree within an experiment agrees with it."""
    flat = {**signature, **signature["versions"]}
    return all(str(flat.get(key)) == value for key, value in wanted.items())


def _but_rate(spec: TrialSpec) -> str:
    """All that can change a result, but the learning rate and which run of the cell it is."""
    left_out = {"learning_rate", "draw_index", "seed"}
    identity = {key: value for key, value in spec.identity().items() if key not in left_out}
    return json.dumps(identity, sort_keys=True)


def oracle_table(found: Sequence[OracleRate], experiment: str, metric: str = "auroc") -> Table:
    """A line a cell.

    Args:
        found: See :func:`oracle_rates`.
        experiment: Its name.
        metric: Which one they are of.
    """
    name = metric_label(metric)
    caption = (
        f"Learning rates of experiment {first_line(experiment)} beside those that are best ON THE "
        f"TEST ROWS ({name}).",
    )
    heading = ("base model", "pattern", "rates", "rate as run", f"test {name}",
               "best on test rows", f"test {name}", "lost")  # fmt: skip
    lines = tuple(
        (
            first_line(one.base_model), first_line(one.pattern), str(len(one.scores)),
            f"{one.run_rate:g}", f"{one.scores[one.run_rate]:.3f}",
            f"{one.best_rate:g}", f"{one.scores[one.best_rate]:.3f}", f"{one.lost:.3f}",
        )
        for one in found
    )  # fmt: skip
    footnotes = (
        "Not to be chosen by or reported as a result: it is the best of several means over the "
        "same test rows, so too high even for another sample of them.",
        "rates: with which all runs of the cell are done in this results location.",
    )
    records = tuple(
        {
            "base_model": one.base_model, "pattern": one.pattern, "num_rates": len(one.scores),
            "learning_rate": one.run_rate, "score": one.scores[one.run_rate],
            "oracle_rate": one.best_rate, "oracle_score": one.scores[one.best_rate],
            "lost": one.lost,
        }
        for one in found
    )  # fmt: skip
    return Table("oracle-rates", caption, heading, lines, footnotes, records)
