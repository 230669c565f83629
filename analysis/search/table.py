"""What a search found, as tables: the choice of each cell, and every config that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xlt.analysis.search.choose import Choice, Tried
from xlt.analysis.tables.cells import mean_std
from xlt.analysis.tables.table import Table
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label
from xlt.trainables.results.search_plan import SearchPlan

ZERO_SHOT = (
    "Source dev rows often say little of the target language (Keung et al. 2020, arXiv 2004.15001)."
)
FEW_SHOT = (
    "Target dev rows are folds of the pattern's own target rows: nothing beyond the cell's budget "
    "was looked at, but a rate chosen so is not zero-shot."
)


def search_tables(plan: SearchPlan, choices: Sequence[Choice], every: bool = False) -> list[Table]:
    """The choices, and with ``every`` all configs.

    Args:
        plan: The search.
        choices: One a cell.
        every: Add a table of every config of every cell.
    """
    name = metric_label(plan.metric)
    caption = (
        f"Learning rates of experiment {first_line(plan.experiment)}, chosen by {name} on dev "
        f"rows; no test row was there. Search {plan.search_id}.",
    )
    heading = ("base model", "pattern", "dev rows", "learning rate", f"dev {name}", "configs",
               "epochs", "remark")  # fmt: skip
    lines = [_line(choice) for choice in choices]
    footnotes, records = _footnotes(plan, choices), _records(choices)
    tables = [Table("learning-rates", caption, heading, tuple(lines), footnotes, records)]
    if every:
        tried = tuple(_tried(choice, one) for choice in choices for one in choice.tried)
        columns = ("base model", "pattern", "config", f"dev {name}", "dev loss", "trials", "")
        tables.append(Table("configs", ("Every config that was tried.",), columns, tried))
    return tables


def _line(choice: Choice) -> tuple[str, ...]:
    cell, best = choice.cell, choice.best
    finished = sum(one.is_complete for one in choice.tried)
    known = (
        first_line(cell.base_model), first_line(cell.pattern),
        " and ".join(dict.fromkeys(r.dev for r in cell.replicates)),
    )  # fmt: skip
    counts = (f"{finished}/{len(choice.tried)}", str(sum(one.epochs for one in choice.tried)))
    if best is None:
        return (*known, "-", "-", *counts, choice.why)
    remark = choice.why
    if choice.edge:
        remark += f"; at the {choice.edge} end of the range" + (
            ", even widened" if cell.was_widened else ""
        )
    error = best.standard_error
    score = f"{best.score:.3f}" + (f" ± {error:.3f}" if math.isfinite(error) else "")
    return (*known, str(best.config), score, *counts, remark)


def _footnotes(plan: SearchPlan, choices: Sequence[Choice]) -> tuple[str, ...]:
    kinds = {replicate.dev for choice in choices for replicate in choice.cell.replicates}
    told = ["dev: mean over folds and seeds ± standard error, too small as folds share rows; "
            "configs: tried to the end/tried."]  # fmt: skip
    told += [ZERO_SHOT] if "source" in kinds else []
    told += [FEW_SHOT] if "target" in kinds else []
    told += [f"Warning: the search ended early: {plan.why_stopped}."] if plan.why_stopped else []
    told += [] if plan.is_finished else ["Warning: the search is not finished."]
    return tuple(told)


def _tried(choice: Choice, one: Tried) -> tuple[str, ...]:
    known = one.scores[np.isfinite(one.scores)]
    std = float(known.std(ddof=1)) if len(known) > 1 else None
    score = mean_std(one.score, std) if len(known) else "-"
    remark = "chosen" if one is choice.best else "given up" if not one.is_complete else ""
    if one.num_stuck:
        remark = f"{remark + ', ' if remark else ''}{one.num_stuck} did not train"
    if one.failures:
        remark = first_line(one.failures[0])
    return (
        first_line(choice.cell.base_model), first_line(choice.cell.pattern), str(one.config),
        score, "-" if math.isnan(one.loss) else f"{one.loss:.3f}",
        f"{len(known)}/{len(one.scores)}", remark,
    )  # fmt: skip


def _records(choices: Sequence[Choice]) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "base_model": choice.cell.base_model,
            "pattern": choice.cell.pattern,
            "learning_rate": one.config.learning_rate,
            "settings": str(one.config),
            "score": None if math.isnan(one.score) else one.score,
            "loss": None if math.isnan(one.loss) else one.loss,
            "n": int(np.isfinite(one.scores).sum()),
            "num_replicates": len(one.scores),
            "epochs": one.epochs,
            "chosen": one is choice.best,
            "edge": choice.edge if one is choice.best else "",
            "error": one.failures[0] if one.failures else "",
        }
        for choice in choices
        for one in choice.tried
    )
