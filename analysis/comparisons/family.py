"""Families of comparisons: which pairs of cells are compared and corrected together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from xlt.analysis.comparisons.compare import LEVEL, Comparison, compare
from xlt.analysis.metrics.one_thread import one_thread
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores, ExperimentScores, load_scores
from xlt.analysis.uncertainty.collapse import describe_collapse
from xlt.analysis.uncertainty.few_alarms import check_false_alarms
from xlt.analysis.uncertainty.intervals import check_method
from xlt.analysis.uncertainty.multiplicity import Correction, find_correction
from xlt.analysis.uncertainty.permutations import num_permutations_needed
from xlt.analysis.uncertainty.resampling import NUM_RESAMPLES, check_resamples
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError, unknown
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.results.plan import Plan
from xlt.trainables.spec.cell_key import CellKey

FAMILIES: dict[str, str] = {
    "pattern": "every two patterns of the same base model",
    "model": "every two base models on the same pattern",
}
"""Value of ``--by`` -> pairs of cells that are compared."""


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together.

    Attributes:
        collected: The trials.
        metric: Name of the metric.
        pairs: Description of the pairs.
        method: Method of the confidence intervals.
        num_resamples: Maximum number of permutations of test rows.
        correction: Correction for the number of comparisons.
        margin: Largest difference that does not matter; None: not given.
        comparisons: Comparisons in the order of the plan, or of the given pairs.
        gaps: A phrase for each cell that lacks runs, or of which only some runs collapsed.
        left_out: (pair or cell, reason why it is not compared).
    """

    collected: Collected
    metric: str
    pairs: str
    method: str
    num_resamples: int
    correction: Correction
    margin: float | None
    comparisons: tuple[Comparison, ...]
    gaps: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def num_tested(self) -> int:
        """Number of comparisons with a p-value, for which the others are corrected."""
        return sum(comparison.p_value is not None for comparison in self.comparisons)

    def describe(self) -> str:
        """Name the comparisons, their number and their correction."""
        num = len(self.comparisons)
        tested = f", {self.num_tested} of them tested" if self.num_tested < num else ""
        corrected = f"corrected together ({self.correction.label})"
        if self.correction.label == "uncorrected":
            corrected = "not corrected for their number"
        return f"{self.pairs}: a family of {num} comparison{'s' * (num != 1)}{tested}, {corrected}"


@one_thread
def compare_cells(
    collected: Collected,
    metric: str | None = None,
    by: str = "pattern",
    pairs: Sequence[str] = (),
    num_resamples: int = NUM_RESAMPLES,
    method: str = "t",
    paired_seeds: bool = False,
    correction: str = "holm",
    margin: float | None = None,
) -> Family:
    """Compare pairs of cells and correct their p-values for the number of pairs.

    Args:
        collected: The trials, as they are or at a prevalence.
        metric: Name of a metric; None: the one that selects models, AUROC or its macro average.
        by: Name in :data:`FAMILIES`.
        pairs: Pairs of cells, ``base_model/pattern:base_model/pattern`` each, instead of ``by``.
        num_resamples: Maximum number of permutations of test rows.
        method: Name in ``INTERVALS``.
        paired_seeds: Whether to take differences seed by seed (:func:`compare`).
        correction: Name in ``CORRECTIONS``.
        margin: Largest difference that does not matter, a fraction of 1, to find equivalent cells.

    Raises:
        InputError: A metric, family, method, correction or cell is unknown, the margin is not
            between 0 and 1, there are too few resamples for so many comparisons, or no two cells
            can be compared. At a prevalence, cells with few false alarms cannot.
    """
    if by not in FAMILIES:
        raise InputError(unknown("family", by, FAMILIES))
    check_method(method)
    check_resamples(num_resamples)
    corrected_by = find_correction(correction)
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"margin {margin:g}: give a difference between 0 and 1, e.g. 0.02")
    num_classes = len(collected.plan.classes)
    metric = metric or selection_metric(num_classes)
    metric_runs = MetricRuns(metric, None, collected.prevalence, num_classes)
    scores = load_scores(collected)
    left_out: list[tuple[str, str]] = []
    if pairs:
        chosen = _parse(pairs, scores)
        for key in dict.fromkeys(key for pair in chosen for key in pair):
            if key in scores.left_out:
                left_out.append((key.path, scores.left_out[key]))
    else:
        chosen = list_pairs(collected.plan, scores, by)
        left_out += [(key.path, why) for key, why in scores.left_out.items()]
    comparisons: list[Comparison] = []
    used: list[CellScores] = []
    chosen = [(a, b) for a, b in chosen if a in scores.cells and b in scores.cells]
    _check_permutations(num_resamples, len(chosen), corrected_by)
    for first, second in chosen:
        cells = scores.cells[first], scores.cells[second]
        try:
            for cell in cells:
                check_false_alarms(cell, metric, collected.prevalence)
            comparisons.append(compare(*cells, metric_runs, num_resamples, method, paired_seeds))
        except InputError as error:
            left_out.append((f"{first.path}:{second.path}", str(error)))
        else:
            used += cells
    if not comparisons:
        why = [f"{name}: {reason}" for name, reason in left_out] or [
            "there are fewer than two cells"
        ]
        raise InputError(["no two cells can be compared", *why], f"results {collected.uri}")
    return Family(
        collected=collected,
        metric=metric,
        pairs="the pairs asked for" if pairs else FAMILIES[by] + _same_source(collected.plan, by),
        method=method,
        num_resamples=num_resamples,
        correction=corrected_by,
        margin=margin,
        comparisons=correct_together(comparisons, corrected_by, margin),
        gaps=tuple(dict.fromkeys(gap for c in used for gap in _gaps(c, metric_runs))),
        left_out=tuple(left_out),
    )


def _gaps(cell: CellScores, metric_runs: MetricRuns) -> list[str]:
    collapse = describe_collapse(cell, metric_runs.metric, metric_runs.of(cell).values)
    return [f"{cell.key.path}: {why}" for why in (", ".join(cell.gaps), collapse) if why]


def _check_permutations(num_resamples: int, num_tests: int, correction: Correction) -> None:
    """Raise InputError if no permutation p-value could stay small after the correction."""
    if not num_tests:
        return
    needed = num_permutations_needed(correction.interval_alpha(LEVEL, num_tests, 0))
    if num_resamples < needed:
        raise InputError(
            f"{num_resamples} resamples are too few to correct the p-values of {num_tests} "
            f"comparisons; give {needed} or more"
        )


def correct_together(
    comparisons: Sequence[Comparison], correction: Correction, margin: float | None
) -> tuple[Comparison, ...]:
    """Correct comparisons for their number; those without a p-value do not count."""
    known = [c.p_value for c in comparisons if c.p_value is not None]
    p_values = correction.correct(known)
    num_rejected = sum(p_value <= LEVEL for p_value in p_values)
    alpha = correction.interval_alpha(LEVEL, max(len(known), 1), num_rejected)
    corrected = iter(p_values)
    these_runs = correction.correct([c.these_runs_p_value for c in comparisons])
    return tuple(
        dataclasses.replace(
            comparison,
            corrected_p_value=None if comparison.p_value is None else next(corrected),
            these_runs_corrected_p_value=p_value,
            alpha=alpha,
            margin=margin,
        )
        for comparison, p_value in zip(comparisons, these_runs, strict=True)
    )


def _same_source(plan: Plan, by: str) -> str:
    """End of the description of pairs, if patterns name their source languages."""
    named = by == "pattern" and any(cell.source_langs for cell in plan.cells)
    return " and source language" if named else ""


def list_pairs(plan: Plan, scores: ExperimentScores, by: str) -> list[tuple[CellKey, CellKey]]:
    """List the pairs of cells that share a base model or a pattern, and the test rows.

    Two patterns that name other source languages are no pair, because they would differ in two
    ways, and most pairs would be of this kind.

    Args:
        plan: The plan of the experiment.
        scores: Cells with predictions.
        by: Name in :data:`FAMILIES`.
    """
    shared = attrgetter("base_model" if by == "pattern" else "pattern")
    sources = {cell.key: cell.source_langs for cell in plan.cells}
    pairs = [
        (a, b)
        for a, b in itertools.combinations(scores.cells, 2)
        if shared(a) == shared(b)
        and scores.cells[a].ids == scores.cells[b].ids
        and len({sources[a], sources[b]} - {()}) < 2
    ]
    order = list(dict.fromkeys(map(shared, scores.cells)))
    return sorted(pairs, key=lambda pair: order.index(shared(pair[0])))


def _parse(pairs: Sequence[str], scores: ExperimentScores) -> list[tuple[CellKey, CellKey]]:
    """Parse pairs of known cells, whose names may contain colons and slashes."""
    names = {key.path: key for key in (*scores.cells, *scores.left_out)}
    parsed, problems = [], []
    for pair in dict.fromkeys(pairs):
        parts = pair.split(":")
        splits = [(":".join(parts[:n]), ":".join(parts[n:])) for n in range(1, len(parts))]
        known = [(a, b) for a, b in splits if a in names and b in names and a != b]
        if known:
            parsed.append((names[known[0][0]], names[known[0][1]]))
        elif len(splits) == 1 and (strange := [name for name in splits[0] if name not in names]):
            problems += [unknown("cell", name, names) for name in strange]
        else:
            problems.append(
                f"pair {pair!r} is not two different cells as in "
                f"model/pattern:model/pattern. Known: {', '.join(names)}."
            )
    if problems:
        raise InputError(problems, "pairs")
    return parsed
