"""xlt compare, and the intervals of xlt report."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.collect import Collected
    from analysis.intervals import CellIntervals

DONE = 0


def add_analysis_commands(commands: Any) -> None:
    """Add ``compare`` to the parser of `xlt`."""
    text = "Compare cells of an experiment: differences, intervals, tests, what would settle them."
    compare = commands.add_parser("compare", help=text, description=text)
    compare.set_defaults(command=_compare)
    compare.add_argument("results", metavar="RESULTS", help="folder or URI")
    compare.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
    compare.add_argument("--metric", default="auroc", help="auroc (default), f1, accuracy ...")
    which = compare.add_mutually_exclusive_group()
    which.add_argument(
        "--by", default="pattern",
        help="pattern (default): every two patterns of a base model; model: the other way round",
    )  # fmt: skip
    which.add_argument(
        "--pairs", nargs="+", default=[], metavar="MODEL/PATTERN:MODEL/PATTERN",
        help="these pairs only, e.g. mini-llama2/ja0:mini-llama2/ja104",
    )  # fmt: skip
    compare.add_argument(
        "--resamples", type=int, default=10_000, metavar="N", help="and permutations (10000)"
    )
    compare.add_argument(
        "--paired-seeds", action="store_true", help="take differences seed by seed"
    )
    add_interval_method(compare)
    compare.add_argument("--format", default="text", help="text (default), md or csv")


def add_interval_method(sub: argparse.ArgumentParser) -> None:
    """Add the choice of an interval to a command."""
    sub.add_argument(
        "--interval-method", default="t", metavar="METHOD", help="t (default), percentile or bca"
    )


def cell_intervals(collected: Collected, method: str) -> CellIntervals:
    """Intervals of the cells of `xlt report`."""
    from analysis.intervals import CellIntervals
    from analysis.scores import load_scores

    return CellIntervals(load_scores(collected), method)


def _compare(options: argparse.Namespace) -> int:
    from analysis.collect import collect
    from analysis.family import compare_family, comparison_format

    as_text = comparison_format(options.format)
    collected = collect(options.results, options.experiment)
    family = compare_family(
        collected, options.metric, options.by, options.pairs, options.resamples,
        options.interval_method, options.paired_seeds,
    )  # fmt: skip
    print(as_text(family))
    if options.format == "csv":  # has no place for them
        notes = [f"left out: {name}: {why}" for name, why in family.left_out]
        for note in [*family.gaps, *notes, *(f"warning: {w}" for w in collected.warnings)]:
            print(note, file=sys.stderr)
    return DONE
