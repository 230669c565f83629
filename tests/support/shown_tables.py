"""Collected trials, with and without folders, and the tables of them."""

from __future__ import annotations

from pathlib import Path

from result_folders import make_plan, make_results, save_done, save_failed

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.tables.report import make_metric_table
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected, collect
from xlt.analysis.trials.predictions import Predictions
from xlt.analysis.trials.trial_row import TrialRow
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

METRICS = ("f1", "auroc")
MODELS = ("mini-elyza", "mini-opencalm")
PATTERNS = ("ja0", "ja16")
NO_CELL = "mini-opencalm was not pre-trained on en | and ja0 has no ja rows"
WHY = "did not train at 5e-4"


def in_memory(
    values: dict[tuple[str, str], list[float | None]], warnings: tuple[str, ...] = ()
) -> Collected:
    """Collected trials without folders: each cell's f1 a seed, None: missing."""
    cells = {CellKey(*names): scores for names, scores in values.items()}
    models = list(dict.fromkeys(key.base_model for key in cells))
    patterns = list(dict.fromkeys(key.pattern for key in cells))
    num_seeds = max(map(len, cells.values()))
    plan = make_plan(models, patterns, range(num_seeds))
    rows = [
        TrialRow(
            experiment="test",
            cell=key,
            draw_index=0,
            seed=seed,
            trial_id=f"{key.base_model}-{key.pattern}-{seed}",
            state="missing" if score is None else "done",
            metrics={} if score is None else {"f1": score},
        )
        for key, scores in cells.items()
        for seed, score in enumerate(scores)
    ]
    none = Predictions(Results("memory"), "test", {})
    return Collected("memory", plan, rows, ("f1",), {}, warnings, none)


def make_mixed(folder: Path) -> Collected:
    """One cell of each kind: partial, complete; impossible, failed with a note."""
    plan = make_plan(
        MODELS,
        PATTERNS,
        skipped={("mini-opencalm", "ja0"): NO_CELL},
        notes={("mini-opencalm", "ja16"): WHY},
        title="miniatures, not the paper's models",
        positive="ESG_50%",
    )
    results = make_results(folder / "results", plan)
    save_done(results, "mini-elyza", "ja0", 0, {"f1": 0.5, "auroc": 0.75})
    save_failed(results, "mini-elyza", "ja0", 1, "loss is nan | step 3\nsecond line")
    save_done(results, "mini-elyza", "ja0", 2, {"f1": 0.7, "auroc": 0.85})
    for seed, f1 in enumerate((0.85, 0.86, 0.861)):
        save_done(results, "mini-elyza", "ja16", seed, {"f1": f1, "auroc": 0.9}, num_threads=seed)
    save_failed(results, "mini-opencalm", "ja16", 1, "out of memory")
    return collect(results)


def table(collected: Collected, metric: str, published: bool = False) -> Table:
    return make_metric_table(collect_metric_cells(collected, metric), published)


def cell_of(shown: tuple[TableCell, ...], model: str, pattern: str) -> TableCell:
    (cell,) = [c for c in shown if c.key == (model, pattern)]
    return cell
