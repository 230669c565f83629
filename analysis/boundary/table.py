"""The table of verdicts: one line for each cell; the others are in threshold_tables.py."""

from __future__ import annotations

from collections.abc import Sequence

from xlt.analysis.boundary.judge_cells import CellBoundary
from xlt.analysis.boundary.measure import WITH_INTERVAL
from xlt.analysis.boundary.score_shift import SHIFTS
from xlt.analysis.boundary.threshold_tables import (
    describe_scored,
    make_line,
    make_threshold_tables,
    make_weight_table,
)
from xlt.analysis.boundary.verdict import MARGIN, NEAR_CHANCE, Loss
from xlt.analysis.tables.cells import write_footnotes
from xlt.analysis.tables.table import Table, group_by_reason
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import describe_test_rows
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.text import first_line

ANSWERS = (
    "AUROC lost: AUROC of the reference minus AUROC of the cell. The reference is the cell of the "
    "same base model with the most target rows, or with the pattern of --reference.",
    "threshold gains: what the best threshold gains over 0.5 in macro F1, the mean F1 of both "
    "classes. It is chosen on four fifths of the test rows and scored on the last fifth, in turn.",
    "[low, high]: 95 % interval over runs and test rows. above 0: the test rows show a gain, but "
    "the runs differ too much to say how large it is on average.",
)
ANSWERS_OF_CLASSES = (
    f"AUROC: of one class against the rest, mean over the classes. {ANSWERS[0]}",
    "weights gain: what the best weights of the classes gain in macro F1; the class of the "
    "largest weighted probability is decided. They are chosen on four fifths of the test rows and "
    "scored on the last fifth, in turn.",
    ANSWERS[2],
)
WORDS = (
    "verdict: ranks worse, {off}, both: the loss is above 0 and not below {margin:g} "
    "(--margin); the other question may be open. neither found: both losses are below {margin:g}. "
    "chance: the interval of AUROC includes 0.5, and the cell ranks worse than the reference or "
    f"the interval is below {NEAR_CHANCE:g}; a cell that is not shown to be above 0.5 gets no "
    "other word. undecided: none of these.",
    "The probability that a cell without fault gets one of the first three verdicts is 0.05 at "
    "most. Among many cells some get one by chance.",
)


def make_boundary_tables(
    collected: Collected,
    judged: Sequence[CellBoundary],
    prior: float | None = None,
    margin: float = MARGIN,
) -> list[Table]:
    """Tables of verdicts, of thresholds, of score shifts and, if computed, of few labelled rows.

    Args:
        collected: The experiment.
        judged: Cells of the experiment, see :func:`boundary`.
        prior: Share of rows for ``f1_prior``, as passed to :func:`boundary`.
        margin: Loss below which a loss is small, as passed to :func:`boundary`.
    """
    of_two = len(collected.plan.classes) == 2
    shown = ("f1", "auroc") if of_two else ("macro_f1", "auroc_ovr")
    answers, off = (ANSWERS, "threshold") if of_two else (ANSWERS_OF_CLASSES, "weights")
    is_off = "threshold is off" if of_two else "weights are off"
    gains = "threshold gains" if of_two else "weights gain"
    verdicts = Table(
        "boundary",
        (
            f"Ranking and {off}, experiment {collected.plan.experiment}. F1 and AUROC: mean "
            f"(std) over {describe_runs(collected.plan)}.",
            *describe_test_rows(collected),
            *describe_source_langs(collected.plan),
            *answers,
            *(sentence.format(margin=margin, off=is_off) for sentence in WORDS),
        ),
        (
            "base model",
            "pattern",
            "F1@0.5" if of_two else "macro F1",
            "AUROC",
            "AUROC lost",
            gains,
            "verdict",
        ),
        tuple((*make_line(cell, shown), *_answers(cell)) for cell in judged),
        (
            *_references(judged),
            *write_footnotes([cell.first for cell in judged]),
            *_without(judged),
            *(f"Warning: {warning}." for warning in collected.warnings),
        ),
        tuple(map(_record, judged)),
    )
    if of_two:
        return [verdicts, *make_threshold_tables(collected, judged, prior)]
    return [verdicts, make_weight_table(judged)]


def _answers(cell: CellBoundary) -> tuple[str, str, str]:
    """Both answers with their intervals, and the verdict; empty without a verdict."""
    verdict = cell.verdict
    if verdict is None:
        return ("", "", "")
    ranking = "-" if verdict.ranking is None else loss_text(verdict.ranking)
    return ranking, loss_text(verdict.threshold), verdict.word


def loss_text(loss: Loss) -> str:
    """A loss with its interval, e.g. ``0.120 [0.031, 0.209]``, or ``0.120 [above 0, 0.247]``."""
    low = f"{loss.interval.low:.3f}"
    if loss.is_shown and float(low) <= 0:
        low = "above 0"
    return f"{loss.value:.3f} [{low}, {loss.interval.high:.3f}]"


def _references(judged: Sequence[CellBoundary]) -> list[str]:
    """The reference of each base model, one sentence for all that have the same."""
    compared = ((cell.names[0], cell.reference) for cell in judged if cell.verdict)
    return [f"Reference of {names}: {pattern}." for pattern, names in group_by_reason(compared)]


def _without(judged: Sequence[CellBoundary]) -> list[str]:
    """One sentence for each cell that has a value but lacks a verdict or its comparison."""
    return [
        f"No {'comparison of ranking' if cell.verdict else 'verdict'} for {cell.title}: "
        f"{first_line(cell.without)}."
        for cell in judged
        if cell.without
    ]


def _record(cell: CellBoundary) -> dict[str, object]:
    f1, verdict = cell.first, cell.verdict
    record: dict[str, object] = {
        "base_model": f1.base_model,
        "pattern": f1.pattern,
        "n": f1.n,
        "num_planned": f1.num_planned,
        "state": f1.state,
        "verdict": verdict and verdict.word,
        "reference": cell.reference or None,
        "train_rows": describe_scored(cell) or None,
    }
    losses = {
        "auroc_lost": verdict and verdict.ranking,
        "threshold_gain": verdict and verdict.threshold,
    }
    for name, loss in losses.items():
        record |= {
            name: loss and loss.value,
            f"{name}_low": loss and loss.interval.low,
            f"{name}_high": loss and loss.interval.high,
            f"{name}_above_0": loss and loss.is_shown,
        }
    for name, value in cell.measures.items():
        record |= {f"{name}_mean": value.mean, f"{name}_std": value.std}
        if name in (*WITH_INTERVAL, *SHIFTS, "auroc", "auroc_ovr"):
            low, high = value.interval or (None, None)
            record |= {f"{name}_low": low, f"{name}_high": high}
    return record
