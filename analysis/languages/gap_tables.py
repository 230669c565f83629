"""Tables of transfer gaps, and of what target rows cost the source language."""

from __future__ import annotations

from collections.abc import Sequence

from xlt.analysis.languages.gaps import Gap, find_costs, find_gaps
from xlt.analysis.languages.records import (
    describe_scores,
    format_difference,
    format_p,
    group_reasons,
    make_record,
    record_difference,
)
from xlt.analysis.languages.scores import LangCell, LangScores
from xlt.analysis.tables.cells import format_cell, write_footnotes
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.text import first_line

PAIRED = (
    "Both scores are of the same trials, so seeds and draws are paired; rows of one story count "
    "together, also in two languages."
)
HOLM = "p: two-sided, of no difference, corrected by Holm's method for the {} of this table."


def make_gap_table(scores: LangScores) -> Table:
    """Make the table of the scores in each language, with the gaps from the source language."""
    gaps, left_out = find_gaps(scores)
    by_place = {(gap.cell.key, gap.lang): gap for gap in gaps}
    lines, records = [], []
    num_runs = _num_runs(scores)
    for cell in scores.cells:
        for lang in _source_first(cell):
            own, gap = cell.by_lang[lang].cell, by_place.get((cell.key, lang))
            tested = gap.tested if gap else None
            is_source = lang in cell.source_langs
            lines.append((
                *map(first_line, cell.key), f"{lang} (source)" if is_source else lang,
                format_cell(own, num_runs), "" if is_source else format_difference(tested),
                "" if is_source else format_p(tested),
            ))  # fmt: skip
            low, high = own.interval or (None, None)
            why = cell.by_lang[lang].why
            records.append(make_record(
                "score", scores, **cell.key._asdict(), source_lang=cell.source or None,
                test_lang=lang, n=own.n, mean=own.mean, std=own.std, low=low, high=high,
                **record_difference(tested),
                note="; ".join(filter(None, (*own.problems, why, tested.why if tested else ""))),
            ))  # fmt: skip
    return Table(
        name=f"{scores.metric}-transfer",
        caption=(
            *describe_scores(scores),
            f"Score: mean (std) over {describe_runs(scores.collected.plan)}"
            f"{f', n = {num_runs}' if num_runs else ''}, in each test language. "
            "Source minus it: score in the source language (mean over several) minus this score, "
            f"with its 95 % interval over runs and test rows. {PAIRED} {HOLM.format('gaps')}",
            _describe_intervals(scores),
        ),
        heading=("base model", "pattern", "test language", "score", "source minus it", "Holm p"),
        lines=tuple(lines),
        footnotes=(*_remarks(scores, gaps), *group_reasons("No gap of", left_out)),
        records=(*records, *_records_left_out(scores, left_out)),
    )


def make_cost_table(scores: LangScores) -> Table | None:
    """Make the table of what target rows cost the source language; None without target rows."""
    costs, left_out = find_costs(scores)
    if not costs and not left_out:
        return None
    lines, records = [], []
    for cost in costs:
        key, zero = cost.cell.key, cost.zero_shot
        zero_pattern = first_line(zero.key.pattern)
        lines.append((
            *map(first_line, key), cost.cell.source, f"{zero_pattern}: {_in_source(scores, zero)}",
            _in_source(scores, cost.cell), format_difference(cost.tested), format_p(cost.tested),
        ))  # fmt: skip
        records.append(make_record(
            "cost", scores, **key._asdict(), source_lang=cost.cell.source,
            test_lang=cost.cell.source, **record_difference(cost.tested),
            note=cost.tested.why or f"minus {zero_pattern}",
        ))  # fmt: skip
    untested = ((cost.cell.key.path, cost.tested.why) for cost in costs)
    return Table(
        name=f"{scores.metric}-source-cost",
        caption=(
            *describe_scores(scores),
            "Change: score in the source language with target rows minus that of the same source "
            "rows alone, with its 95 % interval over runs and test rows. A negative change is what "
            f"the target rows cost. {HOLM.format('changes')}",
        ),
        heading=(
            "base model", "pattern", "source language", "zero-shot", "score", "change", "Holm p",
        ),
        lines=tuple(lines),
        footnotes=(
            *group_reasons("Not tested:", untested), *group_reasons("No change of", left_out),
        ),
        records=(*records, *_records_left_out(scores, left_out)),
    )  # fmt: skip


def _in_source(scores: LangScores, cell: LangCell) -> str:
    """Format the scores of a cell in its source languages, one after another."""
    return ", ".join(format_cell(own.cell, _num_runs(scores)) for _, own in cell.in_source)


def _source_first(cell: LangCell) -> list[str]:
    """Test languages of a cell, the source language first."""
    return sorted(cell.by_lang, key=lambda lang: lang not in cell.source_langs)


def _num_runs(scores: LangScores) -> int | None:
    """Number of runs planned for each cell; None if cells have unequal numbers."""
    counts = {own.cell.num_planned for cell in scores.cells for own in cell.by_lang.values()}
    return counts.pop() if len(counts) == 1 else None


def _describe_intervals(scores: LangScores) -> str:
    """A sentence about the intervals of scores."""
    for cell in scores.cells:
        for own in cell.by_lang.values():
            if own.cell.interval:
                return own.intervals.describe()
    return "No score has an interval."


def _remarks(scores: LangScores, gaps: Sequence[Gap]) -> list[str]:
    """Footnotes on names, missing runs, and intervals and tests that are missing."""
    cells = {
        (own.cell.key, own.cell.problems, own.cell.untrained, own.cell.note): own.cell
        for cell in scores.cells
        for own in cell.by_lang.values()
    }
    names = [
        f"{first_line(cell.key.pattern)} is also "
        f"{', '.join(first_line(name) for name in cell.names.values())}: one training."
        for cell in scores.cells
        if cell.names
    ]
    without = [
        (f"{cell.key.path} in {lang}", own.why)
        for cell in scores.cells
        for lang, own in cell.by_lang.items()
        if own.cell.mean is not None
    ]
    tested = [(f"{gap.cell.key.path} in {gap.lang}", gap.tested.why) for gap in gaps]
    return [
        *dict.fromkeys(names),
        *write_footnotes(list(cells.values())),
        *group_reasons("No interval for", without),
        *group_reasons("Gap not tested:", tested),
        *(f"Warning: {warning}." for warning in scores.collected.warnings),
    ]


def _records_left_out(
    scores: LangScores, left_out: Sequence[tuple[str, str]]
) -> list[dict[str, object]]:
    return [
        make_record("left out", scores, note=f"{first_line(name)}: {first_line(why)}")
        for name, why in left_out
    ]
