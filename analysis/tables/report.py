"""Tables in the paper's layout: mean (std) over seeds; what is missing or failed stays visible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import (
    INCOMPLETE,
    NOTE,
    UNTRAINED,
    TableCell,
    aggregate,
    cell_text,
    mean_std,
)
from xlt.analysis.tables.formats import FORMATS, Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import describe_runs
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.variance_components import EXPLAINED, PARTS
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import METRICS, define_metric, reported_metrics
from xlt.trainables.results.plan import Plan, PlannedCell
from xlt.trainables.spec.cell_key import CellKey


def table(
    collected: Collected,
    metric: str,
    published: bool = False,
    target_lang: str | None = None,
    intervals: CellIntervals | None = None,
) -> Table:
    """The table of a metric: base models x patterns, in the order of the experiment.

    Args:
        collected: The trials.
        metric: Name of a metric.
        published: Put the paper's numbers below each base model that stands for one of its.
        target_lang: Only the patterns of this language; None: all.
        intervals: What to make an interval behind each value with; None: no intervals.

    Raises:
        InputError: Neither defined nor reported by any trial; a metric that has no intervals.
    """
    known = {*collected.metrics, *METRICS}
    if metric not in known:
        raise InputError(unknown("metric", metric, known), f"results {collected.uri}")
    plan = collected.plan
    planned = {cell.key: cell for cell in plan.cells if target_lang in (None, cell.target_lang)}
    patterns = list(dict.fromkeys(key.pattern for key in planned))
    cells = []
    for model in plan.base_models:
        for pattern in patterns:
            key = CellKey(model, pattern)
            none = PlannedCell(base_model=model, pattern=pattern, skipped="not in the plan")
            cells.append(aggregate(planned.get(key, none), collected.by_cell.get(key, ()), metric))
    without: dict[CellKey, str] = {}
    if intervals:
        made, without = intervals.of(metric)
        several = len(plan.draws) > 1
        parts = intervals.components(metric) if several and intervals.scores.cells else {}
        cells = [replace(c, interval=made.get(c.key), components=parts.get(c.key)) for c in cells]
    counts = {cell.num_planned for cell in cells if cell.state != "impossible"}
    num_seeds = counts.pop() if len(counts) == 1 else None
    lines = []
    for model in plan.base_models:
        texts = [cell_text(c, num_seeds) for c in cells if c.base_model == model]
        lines.append((first_line(model), tuple(texts)))
        if published and metric in paper.TABLES and (label := paper.label(model)):
            lines.append((f"  {label}", tuple(_published(metric, model, p) for p in patterns)))
    footnotes = cell_footnotes(cells)
    footnotes += [
        f"No interval for {first_line(c.base_model)} x {first_line(c.pattern)}: {why}"
        for c in cells
        if c.mean is not None and (why := without.get(c.key))
    ]
    footnotes += paper.remarks(metric, plan.base_models) if published else []
    footnotes += _searched(plan)
    footnotes += [f"Warning: {warning}." for warning in collected.warnings]
    return Table(
        metric=metric,
        target_lang=target_lang or "",
        caption=(
            *_caption(collected, metric, num_seeds, target_lang),
            *([intervals.describe()] if intervals else []),
        ),
        patterns=tuple(map(first_line, patterns)),
        lines=tuple(lines),
        footnotes=tuple(footnotes),
        cells=tuple(cells),
        with_published=published,
    )


def render(shown: Table, format: str = "text") -> str:
    """A table as text in one of :data:`FORMATS`; InputError for another format."""
    return _format(format)([shown])


def render_tables(
    collected: Collected,
    format: str = "text",
    published: bool = False,
    metrics: Iterable[str] | None = None,
    intervals: CellIntervals | None = None,
) -> str:
    """The paper's Tables 3 and 4, or those of other metrics, in one of :data:`FORMATS`.

    With more than two classes they are those of :func:`reported_metrics`; several target
    languages get their own. With intervals and several draws of training rows a second table tells
    what spreads the scores. Warnings stand below each table. CSV has no place for them: print
    ``collected.warnings``.

    Raises:
        InputError: An unknown format or metric.
    """
    renderer = _format(format)
    plan = collected.plan
    chosen = metrics or reported_metrics(len(plan.classes))
    langs: list[str] | list[None] = plan.target_langs if len(plan.target_langs) > 1 else [None]
    shown: list[Table] = []
    for lang in langs:
        for metric in chosen:
            shown.append(table(collected, metric, published, lang, intervals))
            if any(cell.components for cell in shown[-1].cells):
                shown.append(_spread(shown[-1]))
    return renderer(shown)


def _spread(shown: Table) -> Table:
    """What spreads the runs' scores in each cell of a table."""
    texts: dict[str, list[str]] = {}
    for cell in shown.cells:
        parts = [cell.components.text(part) for part in PARTS] if cell.components else ["-"]
        texts.setdefault(first_line(cell.base_model), []).append(" / ".join(parts))
    return replace(
        shown,
        caption=(f"What spreads {shown.metric}: {' / '.join(PARTS.values())}.", EXPLAINED),
        lines=tuple((model, tuple(line)) for model, line in texts.items()),
        footnotes=(),
        cells=(),
    )


def _searched(plan: Plan) -> list[str]:
    """How learning rates were chosen, the cells with the same words together."""
    told: dict[str, list[str]] = {}
    for cell in plan.cells:
        if cell.chosen:
            name = f"{first_line(cell.base_model)} x {first_line(cell.pattern)}"
            told.setdefault(first_line(cell.chosen), []).append(name)
    return [f"{', '.join(where)}: {how}." for how, where in told.items()]


def _format(name: str) -> Callable[[Sequence[Table]], str]:
    if name not in FORMATS:
        raise InputError(unknown("format", name, FORMATS))
    return FORMATS[name]


def _published(metric: str, model: str, pattern: str) -> str:
    """The published entry, "-" where the paper prints that, empty for patterns it has not."""
    value = paper.published(metric, model, pattern)
    if value is None:
        return "-" if pattern in paper.PATTERNS else ""
    return mean_std(value.mean, value.std)


def cell_footnotes(cells: Sequence[TableCell]) -> list[str]:
    """One sentence a reason, with all cells that it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        name = f"{first_line(cell.base_model)} x {first_line(cell.pattern)}"
        for problem in cell.problems:
            reasons.setdefault((INCOMPLETE, problem), []).append(name)
        if cell.untrained:
            reasons.setdefault((UNTRAINED, cell.untrained), []).append(name)
        if cell.note:
            mark = "-" if cell.state == "impossible" else NOTE
            reasons.setdefault((mark, first_line(cell.note)), []).append(name)
    return [f"{mark} {', '.join(where)}: {why}" for (mark, why), where in reasons.items()]


def _caption(
    collected: Collected, metric: str, num_seeds: int | None, target_lang: str | None
) -> tuple[str, ...]:
    """What the numbers are and everything that they depend on."""
    plan = collected.plan
    defined = define_metric(metric, first_line(plan.positive), list(map(first_line, plan.classes)))
    head = f"{paper.TABLES[metric]}. " if metric in paper.TABLES else ""
    lang = f" Target language {target_lang}." if target_lang else ""
    title = f": {first_line(plan.title)}" if plan.title else ""
    count = f"n = {num_seeds}" if num_seeds else "n in each cell"
    versions = [f"{k} {v}" for k, v in collected.signature.items() if k != "data_fingerprint"]
    data = plan.data_fingerprint or collected.signature.get("data_fingerprint", "")
    made_with = [f"data {data[:12]}" if data else "", *versions]
    return (
        f"{head}{defined[0].upper()}{defined[1:]}.{lang}",
        f"Experiment {plan.experiment}{title}.",
        f"Cells: mean (std), {count}; over {describe_runs(plan)} of each trial's score on its "
        f"test rows; std with ddof=1{' over draws and seeds together' * (len(plan.draws) > 1)}.",
        f"Made with {', '.join(filter(None, made_with)) or 'nothing yet'}.",
    )
