"""Families of comparisons: which pairs of cells are compared and corrected together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from xlt.analysis.comparisons.compare import Comparison, compare
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import CellScores, ExperimentScores, load_scores
from xlt.analysis.uncertainty.intervals import check_method
from xlt.analysis.uncertainty.multiplicity import holm
from xlt.analysis.uncertainty.resampling import NUM_RESAMPLES, check_resamples
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.data.core.errors import InputError, unknown
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
        comparisons: Comparisons in the order of the plan, or of the given pairs.
        gaps: A phrase for each cell that lacks runs.
        left_out: (pair or cell, reason why it is not compared).
    """

    collected: Collected
    metric: str
    pairs: str
    method: str
    num_resamples: int
    comparisons: tuple[Comparison, ...]
    gaps: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def compare_cells(
    collected: Collected,
    metric: str = "auroc",
    by: str = "pattern",
    pairs: Sequence[str] = (),
    num_resamples: int = NUM_RESAMPLES,
    method: str = "t",
    paired_seeds: bool = False,
) -> Family:
    """Compare pairs of cells and correct their p-values for the number of pairs (Holm).

    Args:
        collected: The trials.
        metric: Name of a metric of two classes.
        by: Name in :data:`FAMILIES`.
        pairs: Pairs of cells, ``base_model/pattern:base_model/pattern`` each, instead of ``by``.
        num_resamples: Maximum number of permutations of test rows.
        method: Name in ``INTERVALS``.
        paired_seeds: Whether to take differences seed by seed (:func:`compare`).

    Raises:
        InputError: A metric, family, method or cell is unknown, or no two cells can be compared.
    """
    if by not in FAMILIES:
        raise InputError(unknown("family", by, FAMILIES))
    check_method(method)
    check_resamples(num_resamples)
    metric_runs = MetricRuns(metric)
    scores = load_scores(collected)
    left_out: list[tuple[str, str]] = []
    if pairs:
        chosen = _parse(pairs, scores)
        for key in dict.fromkeys(key for pair in chosen for key in pair):
            if key in scores.left_out:
                left_out.append((key.path, scores.left_out[key]))
    else:
        chosen = list_pairs(scores, by)
        left_out += [(key.path, why) for key, why in scores.left_out.items()]
    comparisons: list[Comparison] = []
    used: list[CellScores] = []
    for first, second in chosen:
        if first not in scores.cells or second not in scores.cells:
            continue
        cells = scores.cells[first], scores.cells[second]
        try:
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
    corrected = holm([comparison.p_value for comparison in comparisons])
    return Family(
        collected=collected,
        metric=metric,
        pairs="the pairs asked for" if pairs else FAMILIES[by],
        method=method,
        num_resamples=num_resamples,
        comparisons=tuple(
            dataclasses.replace(comparison, holm_p_value=p_value)
            for comparison, p_value in zip(comparisons, corrected, strict=True)
        ),
        gaps=tuple(dict.fromkeys(f"{c.key.path}: {', '.join(c.gaps)}" for c in used if c.gaps)),
        left_out=tuple(left_out),
    )


def list_pairs(scores: ExperimentScores, by: str) -> list[tuple[CellKey, CellKey]]:
    """List the pairs of cells that share a base model or a pattern, and the test rows.

    Args:
        scores: Cells with predictions.
        by: Name in :data:`FAMILIES`.
    """
    shared = attrgetter("base_model" if by == "pattern" else "pattern")
    pairs = [
        (a, b)
        for a, b in itertools.combinations(scores.cells, 2)
        if shared(a) == shared(b) and scores.cells[a].ids == scores.cells[b].ids
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
