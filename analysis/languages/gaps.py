"""Transfer gaps: what a cell loses from its source language to another, from the same trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xlt.analysis.comparisons.compare import find_common_runs
from xlt.analysis.languages.scores import InLang, LangCell, LangScores, add_up
from xlt.analysis.trials.trial_names import Run
from xlt.analysis.uncertainty.differences import runs_difference
from xlt.analysis.uncertainty.intervals import INTERVALS, Interval
from xlt.analysis.uncertainty.mean_variance import mean
from xlt.analysis.uncertainty.multiplicity import holm
from xlt.analysis.uncertainty.runs import Runs
from xlt.analysis.uncertainty.trial_units import has_several_draws
from xlt.data.core.errors import InputError


@dataclass(frozen=True)
class Measured:
    """A difference with its interval and test.

    Attributes:
        difference: Estimate; None if a score is missing.
        interval: 95 % interval over runs and test rows; None: ``why``.
        p_value: Two-sided p of no difference; None: ``why``.
        corrected_p_value: p of Holm's method for the differences of a table.
        why: Reason why the interval or p is unknown; else empty.
    """

    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    corrected_p_value: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Gap:
    """The transfer gap of a cell in a test language.

    Attributes:
        cell: The cell.
        lang: Test language; the source language itself has no gap.
        tested: Score in the source language, or mean over several, minus score in ``lang``.
    """

    cell: LangCell
    lang: str
    tested: Measured


@dataclass(frozen=True)
class Cost:
    """The score in the source language that target rows cost.

    Attributes:
        cell: Cell with target rows.
        zero_shot: Cell of the same base model and source rows without target rows.
        tested: Score of ``cell`` minus score of ``zero_shot``, both in the source language.
    """

    cell: LangCell
    zero_shot: LangCell
    tested: Measured


def find_gaps(scores: LangScores) -> tuple[list[Gap], list[tuple[str, str]]]:
    """Compute the gap of every cell in every test language but its source language.

    Returns:
        Gaps, corrected together, and (cell, reason) for cells without gaps.
    """
    gaps: list[Gap] = []
    left_out: list[tuple[str, str]] = []
    for cell in scores.cells:
        if why := _why_no_source(cell):
            left_out.append((cell.key.path, why))
            continue
        for lang, own in cell.by_lang.items():
            if lang not in cell.source_langs:
                terms = [*cell.in_source, (-1.0, own)]
                gaps.append(Gap(cell, lang, measure_sum(terms, scores.method)))
    tested = correct([gap.tested for gap in gaps])
    return [replace(gap, tested=own) for gap, own in zip(gaps, tested, strict=True)], left_out


def _why_no_source(cell: LangCell) -> str:
    """Reason why a cell has no score in its source language; empty if it has one."""
    if not cell.spec:
        return "no trial is done"
    if not cell.source_langs:
        return "it trains on no source rows"
    if cell.in_source:
        return ""
    if len(cell.by_lang) == 1:
        return f"it is tested in {', '.join(cell.by_lang)} alone"
    return (
        f"it was not tested in {cell.source}, its source language; name {cell.source} in "
        "sampling.test_langs, which trains again, because its test rows are taken from training"
    )


def find_costs(scores: LangScores) -> tuple[list[Cost], list[tuple[str, str]]]:
    """Compute what target rows cost the source language, for every cell with target rows.

    Returns:
        Costs, corrected together, and (cell, reason) for cells with target rows and no cost.
    """
    costs: list[Cost] = []
    left_out: list[tuple[str, str]] = []
    for cell in scores.cells:
        if not cell.num_target_rows or _why_no_source(cell):  # find_gaps has the reason
            continue
        zero_shot = _find_zero_shot(cell, scores.cells)
        if zero_shot is None or _why_no_source(zero_shot):
            why = f"no cell with its {cell.num_source_rows} source rows alone has scores"
            left_out.append((cell.key.path, why))
            continue
        tested = measure_difference(cell.in_source, zero_shot.in_source, scores.method)
        costs.append(Cost(cell, zero_shot, tested))
    corrected = correct([cost.tested for cost in costs])
    return [replace(cost, tested=own) for cost, own in zip(costs, corrected, strict=True)], left_out


def _find_zero_shot(cell: LangCell, cells: Iterable[LangCell]) -> LangCell | None:
    """Find the cell with the same source rows and no target rows; for ja16, what serves ja0."""
    wanted = cell.key.base_model, cell.source_langs, cell.num_source_rows
    for other in cells:
        is_zero_shot = not other.num_target_rows and not other.is_translated
        serves = {other.target_lang, *other.names}
        own = other.key.base_model, other.source_langs, other.num_source_rows
        if is_zero_shot and own == wanted and cell.target_lang in serves:
            return other
    return None


def measure_sum(terms: Sequence[tuple[float, InLang]], method: str) -> Measured:
    """Measure a sum of the scores of the same trials in several languages.

    Args:
        terms: Factor and scores of each language; the factors add up to 0 or 1.
        method: Method of the interval.
    """
    return _measure(lambda: [add_up(terms)], terms, method)


def measure_difference(
    plus: Sequence[tuple[float, InLang]], minus: Sequence[tuple[float, InLang]], method: str
) -> Measured:
    """Measure the difference of two cells that are tested in the same languages.

    Runs are those that both cells have. On one draw the seeds of two cells are independent, with
    several draws they are paired, as in :func:`compare`.

    Args:
        plus: Factor and scores of each language of the first cell.
        minus: The same of the second, which is subtracted.
        method: Method of the interval.
    """

    def groups() -> list[Runs]:
        common: tuple[Run, ...] = ()
        for (_, own), (_, other) in zip(plus, minus, strict=True):
            common = find_common_runs(other.usable, own.usable)
        added = add_up(plus), -add_up(minus)
        pair = [own.chosen([own.runs.index(run) for run in common]) for own in added]
        return [pair[0] + pair[1]] if has_several_draws(common) else pair

    return _measure(groups, [*plus, *((-share, own) for share, own in minus)], method)


def _measure(
    make_groups: Callable[[], list[Runs]], terms: Sequence[tuple[float, InLang]], method: str
) -> Measured:
    """Measure a sum, with its interval and p where they are known."""
    try:
        groups = make_groups()
    except InputError as error:
        means = [factor * own.cell.mean for factor, own in terms if own.cell.mean is not None]
        return Measured(sum(means) if len(means) == len(terms) else None, why=str(error))
    ends = INTERVALS[method](groups)
    interval = Interval(max(ends.low, -1.0), min(ends.high, 1.0))
    try:
        p_value = runs_difference(groups).p_equal()
    except InputError as error:
        return Measured(mean(groups), interval, why=str(error))
    return Measured(mean(groups), interval, p_value)


def correct(tested: Sequence[Measured]) -> list[Measured]:
    """Correct p-values for the number of known ones by Holm's method."""
    corrected = iter(holm([own.p_value for own in tested if own.p_value is not None]))
    return [
        own if own.p_value is None else replace(own, corrected_p_value=next(corrected))
        for own in tested
    ]
