"""Tables of claims, tested on results and on the published tables, and of differences of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xlt.analysis.claims.cells import PublishedCells, ResultCells
from xlt.analysis.claims.evaluate import ClaimResult, PartResult, evaluate
from xlt.analysis.claims.schema import Claims
from xlt.analysis.tables import paper
from xlt.analysis.tables.cells import INCOMPLETE, format_cell, format_mean
from xlt.analysis.tables.table import PART, Table
from xlt.analysis.uncertainty.differences import Difference
from xlt.analysis.uncertainty.intervals import ONE_DRAW
from xlt.analysis.uncertainty.welch import p_text
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.spec.cell_key import CellKey

OURS, PUBLISHED, DIFFERENCE = "ours", "published", "ours - published"
"""Sources of lines in the CSV."""


def make_claims_tables(
    claims: Claims, cells: ResultCells, *, published: bool = False
) -> list[Table]:
    """The table of claims, and with ``published`` that of differences to the published values.

    Args:
        claims: Claims of a file.
        cells: Cells of the experiment.
        published: Whether to test the claims on the published tables, too.
    """
    results = {OURS: evaluate(claims, cells)}
    if published:
        results[PUBLISHED] = evaluate(claims, PublishedCells())
    level, within = f"{1 - claims.alpha:.0%}", f"{1 - 2 * claims.alpha:.0%}"
    collected = cells.collected
    one_draw = f" All {ONE_DRAW}." * (len(collected.plan.draws) == 1)
    caption = (
        f"{first_line(claims.title)}, experiment {collected.plan.experiment}.",
        "A claim is supported if every line below it is significant, and contradicted if one is "
        f"significant in the opposite direction (level {claims.alpha:g}; Holm's correction for the "
        "claims of a column). Its p belongs to the verdict; if undecided, to being supported.",
        f"Lines: difference of means over seeds [{level} interval; {within} where the line says "
        f"within, for two one-sided tests] and p, not corrected. p is below {claims.alpha:g} if "
        f"the whole interval lies where the line says. {_methods(results)}{one_draw}",
    )
    lines: list[tuple[str, ...]] = []
    for number, claim in enumerate(claims.claims):
        row = [column[number] for column in results.values()]
        texts = [text for result in row for text in (result.verdict, _p(result.p))]
        lines.append((f"{first_line(claim.id)}: {first_line(claim.says)}", *texts))
        for k, part in enumerate(claim.parts):
            texts = [text for result in row for text in _effect(result.parts[k])]
            lines.append((f"{PART}{part.text}", *texts))
    footnotes = [
        *_not_evaluated(results),
        *_without_rows(claims, cells),
        *_alone(results),
        *_incomplete(claims, cells),
        *_stand_ins(claims, cells),
        *(_about_published(claims, results[PUBLISHED]) if published else []),
        *(f"Warning: {warning}." for warning in collected.warnings),
    ]
    heading = ("claim", *(text for name in results for text in (name, "p")))
    records = tuple(r for name, column in results.items() for r in _records(name, column))
    tables = [Table("claims", caption, heading, tuple(lines), tuple(footnotes), records)]
    return [*tables, _differences(cells)] if published else tables


def _effect(result: PartResult) -> tuple[str, str]:
    if result.difference is None or result.interval is None:
        return "-", ""
    return _with_interval(result.difference, result.interval), _p(result.p_for)


def _with_interval(difference: Difference, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{difference.estimate:+.3f} [{low:+.3f}, {high:+.3f}]"


def _p(p: float | None) -> str:
    return "" if p is None else p_text(p)


# --- footnotes ------------------------------------------------------------------------------


def _not_evaluated(results: Mapping[str, Sequence[ClaimResult]]) -> Iterable[str]:
    """One sentence for each claim that was not evaluated; a column is named if only it lacks p."""
    reasons: dict[str, list[str]] = {}
    for name, column in results.items():
        for result in column:
            if result.missing:
                why = f"{first_line(result.claim.id)} is not evaluated: {result.missing}"
                reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        yield f"{why}." if len(names) == len(results) else f"{why} ({', '.join(names)})."


METHODS = {
    "runs x test rows": "over seeds (and draws of training rows, if there are several) and test "
    "rows, as in xlt compare (method t)",
    "Welch": "Welch's t over seeds, with fixed test rows",
}
"""``Difference.made_with`` -> phrase in captions."""


def _methods(results: Mapping[str, Sequence[ClaimResult]]) -> str:
    """One sentence for each column about the methods of its differences."""
    sentences = []
    for name, column in results.items():
        used = {part.difference.made_with for r in column for part in r.parts if part.difference}
        if used:
            sentences.append(f"{name}: {'; '.join(METHODS[m] for m in METHODS if m in used)}.")
    return " ".join(sentences)


def _without_rows(claims: Claims, cells: ResultCells) -> Iterable[str]:
    """Why some differences of results take the test rows as fixed."""
    reasons: dict[str, None] = {}
    for part in (part for claim in claims.claims for part in claim.parts):
        try:
            cells.difference(part.metric, part.first, part.second)
        except InputError:  # reported as not evaluated
            continue
        if why := cells.without_rows(part.metric, part.first, part.second):
            reasons[why] = None
    if reasons:
        yield f"{OURS}: Welch's t over seeds where test rows cannot be used: {'; '.join(reasons)}."


def _alone(results: Mapping[str, Sequence[ClaimResult]]) -> Iterable[str]:
    """Verdicts that depend on the correction for the number of claims."""
    for name, column in results.items():
        changed = [f"{first_line(r.claim.id)} ({r.alone})" for r in column if r.alone != r.verdict]
        if changed:
            yield f"{name}: undecided only because several claims are tested: {', '.join(changed)}."


def _incomplete(claims: Claims, cells: ResultCells) -> Iterable[str]:
    """Cells whose value is over fewer seeds than planned, or of which only some runs collapsed."""
    asked = [(p.metric, name) for c in claims.claims for p in c.parts for name in p.cells]
    for metric, name in dict.fromkeys(asked):
        try:
            cell, collapse = cells.cell(metric, name), cells.collapse(metric, name)
        except InputError:  # reported as not evaluated
            continue
        if cell.state == "partial":
            yield f"{INCOMPLETE} {metric} of {name}: over {cell.n} of {cell.num_planned} seeds."
        if collapse:
            yield f"{INCOMPLETE} {metric} of {name}: {collapse}."


def _stand_ins(claims: Claims, cells: ResultCells) -> Iterable[str]:
    """Miniatures that were tested instead of the models that the claims name."""
    tested = {}
    for claim in claims.claims:
        for part in claim.parts:
            for name in part.cells:
                model = CellKey.parse(name).base_model
                try:
                    tested[model] = cells.base_model(model)
                except InputError:  # reported as not evaluated
                    continue
    if used := [name for model, name in tested.items() if name != model]:
        yield (
            f"{OURS}: {', '.join(used)} stand in for the models that the claims name. Miniatures "
            "are not these models: a verdict on them says nothing about the claim itself."
        )


def _about_published(claims: Claims, ours: Sequence[ClaimResult]) -> Iterable[str]:
    """Assumptions of the published column, and verdicts that depend on them."""
    other = evaluate(claims, PublishedCells(ddof=0))
    changed = [
        f"{first_line(a.claim.id)} ({b.verdict})"
        for a, b in zip(ours, other, strict=True)
        if a.verdict != b.verdict
    ]
    yield (
        f"{PUBLISHED}: from printed means and stds of {paper.NUM_RUNS} runs with three digits, "
        "assuming ddof = 1, which the paper does not state. With ddof = 0 these verdicts change: "
        f"{', '.join(changed) or 'none'}."
    )


# --- differences to the paper ---------------------------------------------------------------


def _differences(cells: ResultCells) -> Table:
    """Our value, the published value and their difference, for each cell that the paper has."""
    plan = cells.collected.plan
    lines, records = [], []
    for metric in paper.TABLES:
        for planned in plan.cells:
            name, value = planned.key.path, paper.find_published(metric, planned.key)
            if value is None or metric not in cells.collected.metrics:
                continue
            cell = cells.cell(metric, name)
            shown, difference, interval, why = "-", None, None, ""
            try:
                difference = cells.difference_to_published(metric, name)
                interval = difference.interval()
                shown = _with_interval(difference, interval)
            except InputError as error:
                why = str(error)
            ours = format_cell(cell, cell.num_planned)
            texts = (ours, format_mean(value.mean, value.std), shown)
            lines.append((metric, first_line(planned.base_model), planned.pattern, *texts))
            records.append(
                _record(DIFFERENCE, "", metric=metric, first=name, second=name, missing=why)
                | _numbers(difference, interval)
                | {"p": difference.p_equal() if difference else None}
                | {"method": difference.made_with if difference else ""}
            )
    remarks = dict.fromkeys(
        r for m in paper.TABLES for r in paper.write_remarks(m, plan.base_models)
    )
    draws = (
        "The paper names no draws of training rows; if its runs are on one, no interval covers it"
        if len(plan.draws) > 1
        else "Both are on one draw of training rows, which no interval covers"
    )
    caption = (
        f"Differences to the published values, experiment {plan.experiment}.",
        "ours and published: mean (std) over runs; difference [95% interval] of each cell over "
        "runs and test rows of both, not corrected for the number of cells. Published test rows "
        "are assumed to vary as ours do. Where ours are not there, the interval is Welch's over "
        f"runs alone, and too short. {draws}. Data and, for miniatures, models differ, so a "
        "difference does not mean that a reproduction failed.",
    )
    heading = ("metric", "base model", "pattern", OURS, PUBLISHED, "difference")
    return Table("differences", caption, heading, tuple(lines), tuple(remarks), tuple(records))


# --- CSV ------------------------------------------------------------------------------------


def _records(source: str, results: Sequence[ClaimResult]) -> Iterable[dict[str, object]]:
    """One row for each claim with its verdict, followed by one row for each of its parts."""
    for result in results:
        yield _record(source, result.claim.id, missing=result.missing) | {
            "p": result.p,
            "verdict": result.verdict,
        }
        for part in result.parts:
            fields = part.part.model_dump()
            yield (
                _record(source, result.claim.id, missing=part.missing, **fields)
                | _numbers(part.difference, part.interval)
                | {"p": part.p_for, "p_against": part.p_against}
                | {"method": part.difference.made_with if part.difference else ""}
            )


def _record(source: str, claim: str, **fields: object) -> dict[str, object]:
    return {
        "source": source, "claim": claim, "verdict": "", "metric": "", "first": "",
        "direction": "", "second": "", "margin": None, "estimate": None, "low": None,
        "high": None, "p": None, "p_against": None, "method": "", "missing": "", **fields,
    }  # fmt: skip


def _numbers(
    difference: Difference | None, interval: tuple[float, float] | None
) -> dict[str, object]:
    if difference is None or interval is None:
        return {}
    return {"estimate": difference.estimate, "low": interval[0], "high": interval[1]}
