"""Tables of measures, verdicts and score shifts: one line for each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xlt.analysis.boundary.judged import CellBoundary
from xlt.analysis.boundary.measure import WITH_INTERVAL
from xlt.analysis.boundary.score_shift import SHIFTS
from xlt.analysis.boundary.train_threshold import TRAIN_ROWS
from xlt.analysis.boundary.verdict import MARGIN, NEAR_CHANCE, Loss
from xlt.analysis.metrics.calibration import NUM_BINS
from xlt.analysis.metrics.labelled_rows import FITS, NUM_DRAWS
from xlt.analysis.metrics.thresholds import all_positive_f1
from xlt.analysis.tables.cells import TableCell, format_cell, write_footnotes
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.source_langs import describe_source_langs
from xlt.analysis.trials.test_lang import describe_test_rows
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.text import first_line, name_numbers

THRESHOLDS: dict[str, str] = {
    "f1": "F1@0.5",
    "f1_median": "F1@median",
    "f1_prior": "F1@prior",
    TRAIN_ROWS: "F1@train rows",
    "f1_best": "F1@best",
    "average_precision": "AP",
    "ece": "ECE",
    "brier": "Brier",
}
"""Measure -> heading of the second table, in order; measures without a value are left out."""
SHIFT_COLUMNS: dict[str, str] = {
    "logit_median": "median logit",
    "logit_shift": "shift",
    "logit_shift_d": "shift, d",
    "logit_shift_0": "of negatives",
    "logit_shift_1": "of positives",
}
"""Measure -> heading of the table of score shifts, in logits except for ``d``."""
SHIFT_DEFINITIONS = (
    "Score shift between languages: how far the scores of target test rows lie above those of "
    "source training rows of the same class, in logits (log odds of class 1; 0 is the threshold "
    "0.5). Mean over runs [95 % interval over runs and test rows].",
    "median logit: median over all test rows; with balanced classes it is 0 if the threshold is "
    "right, and below 0 if too few rows are called positive. shift: median of target rows minus "
    "median of source rows, mean over both classes; of negatives, of positives: each class. Source "
    "rows are scored in sample. shift, d: shift divided by the standard deviation within language "
    "and class. -: no source rows with a score.",
)
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
WEIGHTS: dict[str, str] = {
    "macro_f1": "as reported",
    "macro_f1_estimated": "estimated shares",
    "macro_f1_oracle": "true shares",
    "macro_f1_best": "best weights",
}
"""Measure -> heading of the second table with more than two classes."""
WEIGHT_DEFINITIONS = (
    "Macro F1 with weights of the classes, which correct for other shares of the classes than in "
    "training. Mean (std) over runs.",
    "estimated shares: weights are the shares of the classes among the test texts, estimated from "
    "their scores without labels (expectation maximisation, Saerens et al. 2002), over those of "
    "training. true shares: the same with the shares of the labels. best weights: those of the "
    "first table. -: the training rows of a class are unknown or none.",
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
THRESHOLD_DEFINITIONS = (
    "F1 of class 1 at several thresholds, average precision (AP) and calibration. 0.5: as in the "
    "report. median: the median score of the test texts, which needs no labels but assumes "
    "balanced classes. train rows: the best threshold for the target training rows, scored out of "
    "fold by the trials of a search in the cells named below the table, else in sample, where "
    "scores are too confident. best: the threshold of the first table. Both best thresholds are "
    "those with the largest macro F1.",
    f"ECE: expected calibration error over {NUM_BINS} bins of equal mass; Brier: mean squared "
    "difference between probability and label; 0 is best for both. [low, high]: 95 % interval "
    "over runs and test rows.",
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
        tuple((*_line(cell, shown), *_answers(cell)) for cell in judged),
        (
            *_references(judged),
            *write_footnotes([_first(cell) for cell in judged]),
            *_without(judged),
            *(f"Warning: {warning}." for warning in collected.warnings),
        ),
        tuple(map(_record, judged)),
    )
    if not of_two:
        weighted = tuple(_line(cell, WEIGHTS) for cell in judged)
        return [verdicts, Table("weights", WEIGHT_DEFINITIONS, _heading(WEIGHTS), weighted)]
    computed = judged[0].measures
    asked = "" if prior is None else f"; prior: the score that a share {prior:g} reaches"
    columns = {name: heading for name, heading in THRESHOLDS.items() if name in computed}
    if not any(cell.measures[TRAIN_ROWS].n for cell in judged):
        del columns[TRAIN_ROWS]
    thresholds = Table(
        "thresholds",
        (
            *THRESHOLD_DEFINITIONS,
            *describe_test_rows(collected),
            *describe_source_langs(collected.plan),
            f"Cells: mean (std) over runs{asked}.",
        ),
        _heading(columns),
        tuple(_line(cell, columns) for cell in judged),
        (*_floor(judged), *_train_rows(judged)),
    )
    shifts = tuple((*_names(cell), *_shifts(cell)) for cell in judged)
    tables = [verdicts, thresholds]
    tables.append(Table("score-shifts", SHIFT_DEFINITIONS, _heading(SHIFT_COLUMNS), shifts))
    platt = [name for name in computed if name.startswith("f1_platt")]
    numbers = list(dict.fromkeys(int(name.rsplit("_", 1)[1]) for name in platt))
    if numbers:
        few = {f"f1_{fit}_{n}": f"{fit}, {n}" for n in numbers for fit in FITS}
        tables.append(
            Table(
                "labelled-rows",
                (
                    "F1 with a threshold chosen on N labelled test rows, scored on the others.",
                    "The N rows are test rows, because result folders hold no scores of other "
                    f"rows. They are drawn {NUM_DRAWS} times, each class in proportion. Cells: "
                    "mean (std) over runs. temperature: logits scaled and cut at 0.5, which "
                    "cannot move the boundary; platt: slope and intercept; threshold: best macro "
                    "F1 on the N rows.",
                ),
                _heading({"f1": "F1@0.5"} | few),
                tuple(_line(cell, ("f1", *few)) for cell in judged),
            )
        )
    return tables


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


def _heading(columns: Mapping[str, str]) -> tuple[str, ...]:
    return ("base model", "pattern", *columns.values())


def _first(cell: CellBoundary) -> TableCell:
    """F1 or macro F1, the first measure; every measure knows the cell's name and runs."""
    return next(iter(cell.measures.values()))


def _line(cell: CellBoundary, columns: Iterable[str]) -> tuple[str, ...]:
    f1 = _first(cell)
    return (*_names(cell), *(_entry(cell.measures[name], f1) for name in columns))


def _names(cell: CellBoundary) -> tuple[str, str]:
    f1 = _first(cell)
    return first_line(f1.base_model), first_line(f1.pattern)


def _title(cell: CellBoundary) -> str:
    return " x ".join(_names(cell))


def _shifts(cell: CellBoundary) -> tuple[str, ...]:
    entries = (cell.measures[name] for name in SHIFT_COLUMNS)
    return tuple("-" if e.mean is None else _signed(e.mean, e.interval) for e in entries)


def _signed(mean: float, interval: tuple[float, float] | None) -> str:
    return f"{mean:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else "")


def _entry(measure: TableCell, f1: TableCell) -> str:
    """The text of an entry; ``-`` for a measure that none of the done trials has."""
    return "-" if f1.n and not measure.n else format_cell(measure, f1.num_planned)


def _references(judged: Sequence[CellBoundary]) -> list[str]:
    """The reference of each base model, one sentence for all that have the same."""
    models_of: dict[str, list[str]] = {}
    for cell in judged:
        if cell.verdict:
            models = models_of.setdefault(first_line(cell.reference), [])
            models.append(_names(cell)[0])
    return [
        f"Reference of {', '.join(dict.fromkeys(models))}: {pattern}."
        for pattern, models in models_of.items()
    ]


def _without(judged: Sequence[CellBoundary]) -> list[str]:
    """One sentence for each cell that has a value but lacks a verdict or its comparison."""
    return [
        f"No {'comparison of ranking' if cell.verdict else 'verdict'} for {_title(cell)}: "
        f"{first_line(cell.without)}."
        for cell in judged
        if cell.without
    ]


def _floor(judged: Sequence[CellBoundary]) -> list[str]:
    """F1 without any ranking, and a warning that the median threshold needs balanced classes."""
    priors = sorted({round(cell.prior, 6) for cell in judged if cell.prior is not None})
    values = ", ".join(f"{all_positive_f1(p):.3f} at {p:.1%} positive" for p in priors)
    notes = [f"Calling every test row positive has F1 {values}."]
    with_median = any("f1_median" in cell.measures for cell in judged)
    if with_median and [p for p in priors if abs(p - 0.5) > 0.01]:
        notes.append("The test rows are not balanced: ignore F1@median and set --prior.")
    return notes if priors else []


def _train_rows(judged: Sequence[CellBoundary]) -> list[str]:
    """Where the scores of training rows come from, one sentence for all cells with the same."""
    cells_of: dict[str, list[str]] = {}
    for cell in judged:
        if cell.measures[TRAIN_ROWS].n:
            how = _scored(cell)
            if cell.folds:
                seeds = name_numbers(cell.folds.seeds)
                how += f", by {cell.folds.num_folds} folds and seeds {seeds} of the search"
                how += f" at learning rate {cell.folds.learning_rate:g}"
            cells_of.setdefault(how, []).append(_title(cell))
    return [f"F1@train rows of {', '.join(cells)}: {how}." for how, cells in cells_of.items()]


def _scored(cell: CellBoundary) -> str:
    """How the training rows were scored; empty if the cell has no threshold from them."""
    if TRAIN_ROWS not in cell.measures or not cell.measures[TRAIN_ROWS].n:
        return ""
    return "out of fold" if cell.folds else "in sample"


def _record(cell: CellBoundary) -> dict[str, object]:
    f1, verdict = _first(cell), cell.verdict
    record: dict[str, object] = {
        "base_model": f1.base_model,
        "pattern": f1.pattern,
        "n": f1.n,
        "num_planned": f1.num_planned,
        "state": f1.state,
        "verdict": verdict and verdict.word,
        "reference": cell.reference or None,
        "train_rows": _scored(cell) or None,
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
