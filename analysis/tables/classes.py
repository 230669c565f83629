"""Table of classes: precision, recall and F1 of each, and the classes that its rows are called."""

from __future__ import annotations

import numpy as np

from xlt.analysis.metrics.class_scores import score_classes
from xlt.analysis.tables.captions import name_experiment
from xlt.analysis.tables.cells import format_mean
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import THRESHOLD, Values


def make_class_table(collected: Collected, scores: ExperimentScores) -> Table:
    """Make a line for each class of each cell; the last columns are the confusion matrix.

    Args:
        collected: The trials on test rows as drawn.
        scores: Predictions of the cells.

    Raises:
        InputError: The trials are at a prevalence, or no cell has usable predictions.
    """
    if collected.prevalence is not None:
        raise InputError("a confusion matrix counts test rows as drawn; leave out --prevalence")
    if not scores.cells:
        reasons = "; ".join(dict.fromkeys(scores.left_out.values()))
        raise InputError(f"no cell has usable predictions: {reasons}")
    plan = collected.plan
    names = list(map(first_line, plan.class_names))
    lines: list[tuple[str, ...]] = []
    records: list[dict[str, object]] = []
    for key, cell in scores.cells.items():
        of_cell = score_classes(cell)
        for label, name in enumerate(names):
            stats = {part: _mean(own[label]) for part, own in of_cell.values.items()}
            row, counts = int(of_cell.num_rows[label]), of_cell.matrix[label].tolist()
            texts = (format_mean(*stat) for stat in stats.values())
            lines.append((*map(first_line, key), name, str(row), *texts, *map(str, counts)))
            records.append(
                {
                    "base_model": key.base_model,
                    "pattern": key.pattern,
                    "class": name,
                    "num_rows": row,
                    "n": len(cell.runs),
                    **{part: mean for part, (mean, _) in stats.items()},
                    **{f"{part}_std": std for part, (_, std) in stats.items()},
                    **{
                        f"called {other}": count for other, count in zip(names, counts, strict=True)
                    },
                }
            )
    decided = (
        f"rows at probability >= {THRESHOLD} are called {names[1]}"
        if len(names) == 2
        else "rows are called the class of the largest probability"
    )
    return Table(
        name="classes",
        caption=(
            f"Scores of each class and confusion matrix; {decided}.",
            name_experiment(plan),
            f"precision, recall, F1: mean (std) over {describe_runs(plan)}. rows: test rows of the "
            "class. called: these rows by decided class, summed over runs.",
        ),
        heading=(
            "base model", "pattern", "class", "rows", "precision", "recall", "F1",
            *(f"called {name}" for name in names),
        ),
        lines=tuple(lines),
        footnotes=(
            *(f"Left out: {key.path}: {first_line(why)}" for key, why in scores.left_out.items()),
            *(f"Warning: {warning}." for warning in collected.warnings),
        ),
        records=tuple(records),
    )  # fmt: skip


def _mean(values: Values) -> tuple[float, float | None]:
    """Mean and std (ddof=1) over num_runs values; no std of a single one."""
    return float(values.mean()), float(np.std(values, ddof=1)) if len(values) > 1 else None
