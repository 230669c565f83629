"""Footnote on the share of positives among the test rows, which F1 and precision depend on."""

from __future__ import annotations

from xlt.analysis.tables.metric_cells import MetricCells, collect_metric_cells
from xlt.analysis.trials.weigh import OF_TASK, weigh
from xlt.data.core.text import first_line, percent
from xlt.trainables.metrics.prevalence import WITHIN_CLASSES, resampled_at


def write_share_note(metric_cells: MetricCells) -> list[str]:
    """Write the share of positives by design, and what the cells would be at the task's prevalence.

    Args:
        metric_cells: Cells of a metric on the test rows as drawn.

    Returns:
        One sentence; none if the metric does not depend on the share, if the cells are at a
        prevalence already, if no trial has usable predictions, or with more than two classes.
    """
    collected, metric = metric_cells.collected, metric_cells.metric
    depends = metric not in WITHIN_CLASSES and metric in resampled_at(None)
    of_two = len(collected.plan.classes) == 2
    rows = metric_cells.test_rows
    if not (of_two and depends) or collected.prevalence is not None or rows is None:
        return []
    labels = rows.y_true
    drawn = f"{int(labels.sum())} of {len(labels)} test rows are positive by design"
    share = collected.plan.prevalence
    if share is None:
        return [
            f"{drawn}, and the score depends on this share: --prevalence 0.02 shows what it would "
            "be among texts of which 2 % are positive."
        ]
    at_share = collect_metric_cells(
        weigh(collected, share), metric, metric_cells.target_lang or None
    )
    means: dict[str, list[str]] = {}
    for cell in at_share.cells:
        text = "-" if cell.mean is None else f"{cell.mean:.3f}"
        means.setdefault(first_line(cell.base_model), []).append(text)
    cells = "; ".join(f"{model} {' / '.join(texts)}" for model, texts in means.items())
    return [
        f"{drawn}. At the task's prevalence of {percent(share)} these cells would be: {cells} "
        f"(--prevalence {OF_TASK})."
    ]
