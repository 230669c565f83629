"""Tables of a learning-rate search: the choice for each cell, and every config that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xlt.analysis.search.choose import Choice, TriedConfig
from xlt.analysis.tables.cells import format_mean
from xlt.analysis.tables.table import Table
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label
from xlt.trainables.results.search_plan import SearchPlan

ZERO_SHOT = (
    "Scores on source dev rows often predict little about the target language (Keung et al. 2020, "
    "arXiv 2004.15001)."
)
FEW_SHOT = (
    "Target dev rows are folds of the pattern's own target rows: the search used no rows beyond "
    "the cell's budget, but a rate chosen this way is not zero-shot."
)


def make_search_tables(
    plan: SearchPlan, choices: Sequence[Choice], every: bool = False
) -> list[Table]:
    """Make the table of the choices and, with ``every``, a table of all configs.

    Args:
        plan: The search.
        choices: One choice for each cell.
        every: Whether to add a table of every config of every cell.
    """
    name = metric_label(plan.metric)
    caption = (
        f"Learning rates of experiment {first_line(plan.experiment)}, chosen by {name} on dev "
        f"rows, without any test row. Search {plan.search_id}.",
    )
    heading = ("base model", "pattern", "dev rows", "learning rate", f"dev {name}", "configs",
               "epochs", "remark")  # fmt: skip
    lines = [_line(choice) for choice in choices]
    footnotes, records = _footnotes(plan, choices), _records(choices)
    tables = [Table("learning-rates", caption, heading, tuple(lines), footnotes, records)]
    if every:
        lines_of_configs = tuple(
            _config_line(choice, tried) for choice in choices for tried in choice.tried
        )
        columns = ("base model", "pattern", "config", f"dev {name}", "dev loss", "trials", "")
        tables.append(
            Table("configs", ("Every config that was tried.",), columns, lines_of_configs)
        )
    return tables


def _line(choice: Choice) -> tuple[str, ...]:
    cell, best = choice.cell, choice.best
    finished = sum(tried.is_complete for tried in choice.tried)
    known = (
        first_line(cell.base_model), first_line(cell.pattern),
        " and ".join(dict.fromkeys(r.dev for r in cell.replicates)),
    )  # fmt: skip
    counts = (f"{finished}/{len(choice.tried)}", str(sum(tried.epochs for tried in choice.tried)))
    if best is None:
        return (*known, "-", "-", *counts, choice.why)
    remark = choice.why
    if choice.edge:
        remark += f"; at the {choice.edge} end of the range" + (
            ", even after it was widened" if cell.was_widened else ""
        )
    error = best.standard_error
    score = f"{best.score:.3f}" + (f" ± {error:.3f}" if math.isfinite(error) else "")
    return (*known, str(best.config), score, *counts, remark)


def _footnotes(plan: SearchPlan, choices: Sequence[Choice]) -> tuple[str, ...]:
    kinds = {replicate.dev for choice in choices for replicate in choice.cell.replicates}
    notes = ["dev: mean over folds and seeds ± standard error over them, which is no interval: the "
             "mean is too high, because it is the best of all configs, and folds share rows. "
             "configs: completed / tried."]  # fmt: skip
    notes += [ZERO_SHOT] if "source" in kinds else []
    notes += [FEW_SHOT] if "target" in kinds else []
    notes += [f"Warning: the search ended early: {plan.why_stopped}."] if plan.why_stopped else []
    notes += [] if plan.is_finished else ["Warning: the search is not finished."]
    return tuple(notes)


def _config_line(choice: Choice, tried: TriedConfig) -> tuple[str, ...]:
    known = tried.scores[np.isfinite(tried.scores)]
    std = float(known.std(ddof=1)) if len(known) > 1 else None
    score = format_mean(tried.score, std) if len(known) else "-"
    remark = "chosen" if tried is choice.best else "stopped early" if not tried.is_complete else ""
    if tried.num_stuck:
        remark = f"{remark + ', ' if remark else ''}{tried.num_stuck} did not train"
    if tried.failures:
        remark = first_line(tried.failures[0])
    return (
        first_line(choice.cell.base_model), first_line(choice.cell.pattern), str(tried.config),
        score, "-" if math.isnan(tried.loss) else f"{tried.loss:.3f}",
        f"{len(known)}/{len(tried.scores)}", remark,
    )  # fmt: skip


def _records(choices: Sequence[Choice]) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "base_model": choice.cell.base_model,
            "pattern": choice.cell.pattern,
            "learning_rate": tried.config.learning_rate,
            "settings": str(tried.config),
            "score": None if math.isnan(tried.score) else tried.score,
            "loss": None if math.isnan(tried.loss) else tried.loss,
            "n": int(np.isfinite(tried.scores).sum()),
            "num_replicates": len(tried.scores),
            "epochs": tried.epochs,
            "chosen": tried is choice.best,
            "edge": choice.edge if tried is choice.best else "",
            "error": tried.failures[0] if tried.failures else "",
        }
        for choice in choices
        for tried in choice.tried
    )
