"""xlt compare, curves, boundary, claims, oracle, figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError

DONE = 0


def add_analysis_commands(commands: Any) -> None:
    """Add ``compare``, ``curves``, ``boundary``, ``claims``, ``oracle`` and ``figures``."""

    def add(name: str, command: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        sub.add_argument("results", metavar="RESULTS", help="folder or URI")
        sub.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
        sub.add_argument("--format", default="text", help="text (default), md or csv")
        return sub

    text = "Compare cells of an experiment: differences, intervals, tests, what would settle them."
    compare = add("compare", _compare, text)
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

    text = "Score against target rows, and how many of these a base model is worth over another."
    curves = add("curves", _curves, text)
    curves.add_argument("--metric", default="auroc", help="auroc (default), f1, accuracy ...")
    curves.add_argument(
        "--than", metavar="MODEL",
        help="tell how many target rows of MODEL the others are worth; MODEL/N: its curve with N "
        "source rows, where it has several",
    )  # fmt: skip
    curves.add_argument("--resamples", type=int, default=10_000, metavar="N", help="10000")
    add_interval_method(curves)

    text = "Tell cells that rank badly from cells that cut their scores at the wrong place."
    boundary = add("boundary", _boundary, text)
    boundary.add_argument("--reference", metavar="PATTERN", help="default: most target rows")
    boundary.add_argument(
        "--prior", type=float, metavar="P", help="add F1 at the threshold that a share P reaches"
    )
    boundary.add_argument(
        "--labelled", action="append", type=int, default=[], metavar="N",
        help="add F1 with N labelled test rows, the rest scored; repeatable",
    )  # fmt: skip
    boundary.add_argument("--resamples", type=int, default=2000, metavar="N", help="2000")
    add_interval_method(boundary)
    claims = add("claims", _claims, "Test claims over cells; by default the paper's.")
    claims.add_argument("--claims", metavar="FILE", help="a .yaml file; default: the paper's")
    claims.add_argument(
        "--published", action="store_true",
        help="test them on the paper's own tables, too, and list the differences to these",
    )  # fmt: skip

    text = "What learning rates chosen on the test rows would have given: a bound, never a choice."
    oracle = add("oracle", _oracle, text)
    oracle.add_argument("--metric", default="auroc", help="auroc (default), f1, accuracy ...")

    text = "Draw the figures of an experiment into files."
    figures = commands.add_parser("figures", help=text, description=text)
    figures.set_defaults(command=_figures)
    figures.add_argument("results", metavar="RESULTS", help="folder or URI")
    figures.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
    figures.add_argument("--out", required=True, metavar="FOLDER", help="made if it is not there")
    figures.add_argument("--format", default="svg", help="svg (default), png or pdf")
    figures.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="heat-map, seeds, roc ...; all"
    )


def add_interval_method(sub: argparse.ArgumentParser) -> None:
    """Add the choice of an interval to a command."""
    sub.add_argument(
        "--interval-method", default="t", metavar="METHOD", help="t (default), percentile or bca"
    )


def _compare(options: argparse.Namespace) -> int:
    from xlt.analysis.comparisons.family import compare_cells
    from xlt.analysis.comparisons.table import comparison_format
    from xlt.analysis.trials.collect import collect

    as_text = comparison_format(options.format)
    collected = collect(options.results, options.experiment)
    family = compare_cells(
        collected, options.metric, options.by, options.pairs, options.resamples,
        options.interval_method, options.paired_seeds,
    )  # fmt: skip
    print(as_text(family))
    left_out = [f"left out: {name}: {why}" for name, why in family.left_out]
    _warn(options.format, [*family.gaps, *left_out, *collected.warnings])
    return DONE


def _curves(options: argparse.Namespace) -> int:
    from xlt.analysis.curves.learning_curves import learning_curves
    from xlt.analysis.curves.table import curve_grids
    from xlt.analysis.tables.grids import write_grids
    from xlt.analysis.trials.collect import collect

    collected = collect(options.results, options.experiment)
    made = learning_curves(
        collected, options.metric, options.than, options.resamples, options.interval_method
    )
    print(write_grids(curve_grids(made), options.format))
    _warn(options.format, collected.warnings)
    return DONE


def _boundary(options: argparse.Namespace) -> int:
    from xlt.analysis.boundary.measure import boundary
    from xlt.analysis.boundary.table import boundary_grids
    from xlt.analysis.tables.grids import write_grids
    from xlt.analysis.trials.collect import collect

    collected = collect(options.results, options.experiment)
    judged = boundary(
        collected,
        reference=options.reference,
        prior=options.prior,
        num_labelled=options.labelled,
        method=options.interval_method,
        num_resamples=options.resamples,
    )
    grids = boundary_grids(collected, judged, options.prior)
    print(write_grids(grids, options.format))
    _warn(options.format, collected.warnings)
    return DONE


def _claims(options: argparse.Namespace) -> int:
    from xlt.analysis.claims import PAPER, ResultCells, parse_claims, shipped_claims
    from xlt.analysis.claims.report import claims_grids
    from xlt.analysis.tables.grids import write_grids
    from xlt.analysis.trials.collect import collect
    from xlt.sweep.experiment.settings_file import read_settings

    if options.claims is None:
        claims = shipped_claims(PAPER)
    elif options.claims.endswith((".yaml", ".yml")):
        claims = parse_claims(read_settings(options.claims), options.claims)
    else:
        raise InputError("is no .yaml file; docs/claims.md says what one holds", options.claims)
    collected = collect(options.results, options.experiment)
    grids = claims_grids(claims, ResultCells(collected), published=options.published)
    print(write_grids(grids, options.format))
    _warn(options.format, collected.warnings)
    return DONE


def _oracle(options: argparse.Namespace) -> int:
    from xlt.analysis.search.oracle_rates import oracle_grid, oracle_rates
    from xlt.analysis.tables.grids import write_grids
    from xlt.analysis.trials.collect import collect

    collected = collect(options.results, options.experiment)
    found = oracle_rates(collected, options.metric)
    if not found:
        raise InputError("no cell has all of its runs done at one learning rate; run them first")
    grid = oracle_grid(found, collected.plan.experiment, options.metric)
    print(write_grids([grid], options.format))
    _warn(options.format, collected.warnings)
    return DONE


def _figures(options: argparse.Namespace) -> int:
    from xlt.analysis.figures import save_figures
    from xlt.analysis.trials.collect import collect

    collected = collect(options.results, options.experiment)
    drawn = save_figures(collected, Path(options.out), options.format, options.only)
    for one in drawn:
        if one.why:
            print(f"left out: {one.name}: {one.why}", file=sys.stderr)
    print(f"{sum(not one.why for one in drawn)} figures in {options.out}")
    return DONE


def _warn(format: str, warnings: Sequence[str]) -> None:
    if format == "csv":  # has no place for them
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
