"""Tables in the layout of the paper: mean (std) over seeds, with gaps and failures visible."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.analysis.metrics.operating_points import Rule
from xlt.analysis.tables import paper
from xlt.analysis.tables.alarms import make_alarm_table
from xlt.analysis.tables.bounds import write_bounds
from xlt.analysis.tables.captions import define_in_sentence, name_experiment
from xlt.analysis.tables.cells import format_cell, format_mean, write_footnotes
from xlt.analysis.tables.formats import find_format
from xlt.analysis.tables.metric_cells import MetricCells, collect_metric_cells
from xlt.analysis.tables.records import make_record
from xlt.analysis.tables.share_note import write_share_note
from xlt.analysis.tables.stopping_note import write_stopping_note
from xlt.analysis.tables.table import PART, Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import by_test_lang, describe_test_rows
from xlt.analysis.trials.trial_names import describe_runs
from xlt.analysis.uncertainty.collapse import WIDE_COVERAGE, WIDE_SPREAD
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.analysis.uncertainty.variance_components import EXPLAINED, PARTS
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, percent
from xlt.trainables.metrics.registry import needs_every_class, reported_metrics
from xlt.trainables.results.plan import Plan
from xlt.trainables.spec.cell_key import CellKey

GAPS = "Gaps between the test languages, means and ranks over them: `xlt transfer`."
MOST_LANGS = 4
"""Number of test languages that all have tables of their own; of more, only target languages."""


def render_tables(
    collected: Collected,
    format: str = "text",
    published: bool = False,
    metrics: Iterable[str] | None = None,
    intervals: CellIntervals | None = None,
    rule: Rule | None = None,
) -> str:
    """Write Tables 3 and 4 of the paper, or those of other metrics.

    With more than two classes the default metrics are others (:func:`reported_metrics`). Each
    target language has its own tables, and so has each of :data:`MOST_LANGS` test languages. With
    intervals and several draws of training rows a second table shows the components of the variance
    of the scores. At a prevalence a last table shows precision, recall and numbers of alarms.
    Warnings stand below each table; CSV has no place for them, so print ``collected.warnings``.

    Args:
        collected: The trials, as they are or at a prevalence.
        format: Name in :data:`xlt.analysis.tables.formats.FORMATS`.
        published: Whether to show the paper's numbers below the base models that it has.
        metrics: Names of metrics; None: the default ones.
        intervals: Confidence intervals to show behind the values; None: no intervals.
        rule: Rule of the threshold for the table of alarms; None: 0.5.

    Raises:
        InputError: An unknown format or metric, published values beside those of another
            prevalence, or a rule without a prevalence.
    """
    if published and collected.prevalence is not None:
        raise InputError("the paper's values are of test rows drawn 1:1; leave out one of the two")
    write = find_format(format)
    chosen = metrics or reported_metrics(len(collected.plan.classes))
    tables: list[Table] = []
    for tested in _list_views(collected):
        own = intervals
        if own and tested is not collected:
            own = CellIntervals(load_scores(tested), own.method, own.prevalence)
        for lang in list_table_langs(tested):
            for metric in chosen:
                cells = collect_metric_cells(tested, metric, lang, own)
                tables.append(make_metric_table(cells, published))
                if any(cell.components for cell in cells.cells):
                    tables.append(_components_table(cells))
            if rule or collected.prevalence is not None:
                scores = own.scores if own else load_scores(tested)
                method = own.method if own else "t"
                tables.append(make_alarm_table(tested, scores, rule, lang, method))
    return write(tables)


def _list_views(collected: Collected) -> list[Collected]:
    """List the trials by test language; of many languages, those that patterns name."""
    views = by_test_lang(collected)
    if len(views) <= MOST_LANGS:
        return views
    targets = {cell.target_lang for cell in collected.plan.cells}
    targets |= {lang for cell in collected.plan.cells for lang in cell.names}
    return [view for view in views if view.test_lang in targets]


def list_table_langs(collected: Collected) -> list[str] | list[None]:
    """List the target languages that have tables of their own; None: one table for all cells."""
    langs = collected.plan.target_langs
    return [None] if collected.test_lang or len(langs) == 1 else langs


def make_metric_table(metric_cells: MetricCells, published: bool = False) -> Table:
    """Make the table of a metric.

    Args:
        metric_cells: The cells.
        published: Whether to show the paper's numbers below the base models that it has.
    """
    collected, metric, cells = metric_cells.collected, metric_cells.metric, metric_cells.cells
    models = collected.plan.base_models
    lines = []
    for model in models:
        texts = (format_cell(c, metric_cells.num_seeds) for c in cells if c.base_model == model)
        lines.append((first_line(model), *texts))
        if published and metric in paper.TABLES and (label := paper.label_published(model)):
            values = (_published(metric, model, pattern) for pattern in metric_cells.patterns)
            lines.append((f"{PART}{label}", *values))
    footnotes = [
        *write_footnotes(cells),
        *(
            f"No interval for {first_line(c.base_model)} x {first_line(c.pattern)}: {why}"
            for c in cells
            if c.mean is not None and (why := metric_cells.without_interval.get(c.key))
        ),
        *_wide_spread(metric_cells),
        *write_bounds(metric_cells),
        *write_share_note(metric_cells),
        *write_stopping_note(metric_cells),
        *(paper.write_remarks(metric, models) if published else []),
        *([GAPS] if len(collected.plan.test_langs) > 1 else []),
        *(_tuning(collected.plan) if collected.metrics else []),
        *(f"Warning: {warning}." for warning in collected.warnings),
    ]
    tested = {"test_lang": collected.test_lang} if collected.test_lang else {}
    return Table(
        name=metric_cells.name,
        caption=_caption(metric_cells),
        heading=("base model", *map(first_line, metric_cells.patterns)),
        lines=tuple(lines),
        footnotes=tuple(footnotes),
        records=tuple(make_record(metric, cell, published) | tested for cell in cells),
        number=paper.TABLES.get(metric, ""),
    )


def _wide_spread(metric_cells: MetricCells) -> list[str]:
    """A sentence on the cells whose runs differ so much that their interval is too short."""
    if needs_every_class(metric_cells.metric):
        return []
    wide = [
        f"{first_line(c.base_model)} x {first_line(c.pattern)}"
        for c in metric_cells.cells
        if c.interval and c.std and c.std > WIDE_SPREAD
    ]
    return [
        f"{', '.join(wide)}: runs differ by a standard deviation above {WIDE_SPREAD}; such "
        f"intervals hold the truth in about {percent(WIDE_COVERAGE)} of simulated cases, not in "
        "95 %."
    ] * bool(wide)


def _components_table(metric_cells: MetricCells) -> Table:
    """The components of the variance of the runs' scores in each cell."""
    texts: dict[str, list[str]] = {}
    for cell in metric_cells.cells:
        parts = [cell.components.text(part) for part in PARTS] if cell.components else ["-"]
        texts.setdefault(first_line(cell.base_model), []).append(" / ".join(parts))
    return Table(
        name=metric_cells.name,
        caption=(
            f"Variance components of {metric_cells.metric}: {' / '.join(PARTS.values())}.",
            EXPLAINED,
        ),
        heading=("base model", *map(first_line, metric_cells.patterns)),
        lines=tuple((model, *line) for model, line in texts.items()),
    )


def _tuning(plan: Plan) -> list[str]:
    """How learning rates were chosen and what it cost: a sentence for cells with the same reason.

    The budget of tuning belongs to a result (Dodge et al. 2019, EMNLP, "Show Your Work").
    """
    cells: dict[str, list[str]] = {}
    for cell in plan.cells:
        if cell.chosen:
            name = f"{first_line(cell.base_model)} x {first_line(cell.pattern)}"
            cells.setdefault(first_line(cell.chosen), []).append(name)
    budgets = [f"{', '.join(names)}: {explanation}." for explanation, names in cells.items()]
    if any(cell.trials and not cell.chosen for cell in plan.cells):
        others = "of the other cells " * bool(cells)
        budgets.append(f"Learning rates {others}as given; this experiment searched none of them.")
    return budgets


def _published(metric: str, model: str, pattern: str) -> str:
    """The published entry; "-" where the paper prints that, empty for patterns that it lacks."""
    value = paper.find_published(metric, CellKey(model, pattern))
    if value is None:
        return "-" if pattern in paper.PATTERNS else ""
    return format_mean(value.mean, value.std)


def _caption(metric_cells: MetricCells) -> tuple[str, ...]:
    """Sentences on what the numbers are and everything that they depend on."""
    collected, plan = metric_cells.collected, metric_cells.collected.plan
    lang = f" Target language {metric_cells.target_lang}." if metric_cells.target_lang else ""
    count = f"n = {metric_cells.num_seeds}" if metric_cells.num_seeds else "n in each cell"
    together = " over draws and seeds together" * (len(plan.draws) > 1)
    versions = [f"{k} {v}" for k, v in collected.signature.items() if k != "data_fingerprint"]
    data = plan.data_fingerprint or collected.signature.get("data_fingerprint", "")
    made_with = [f"data {data[:12]}" if data else "", *versions]
    return (
        f"{define_in_sentence(plan, metric_cells.metric)}{lang}",
        *describe_test_rows(collected),
        *describe_source_langs(plan),
        name_experiment(plan),
        f"Cells: mean (std), {count}; over {describe_runs(plan)}, of each trial's score on "
        f"its test rows; std with ddof=1{together}.",
        f"Made with {', '.join(filter(None, made_with)) or 'nothing yet'}.",
        *map(first_line, plan.translations),
        *([metric_cells.interval_note] if metric_cells.interval_note else []),
    )
