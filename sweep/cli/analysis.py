"""xlt compare, curves, transfer, boundary, claims, oracle, figures: results, printed or drawn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import (
    Names,
    add_command,
    add_format,
    add_interval_method,
    add_metric,
    add_only,
    add_prevalence,
    add_resamples,
    add_results,
    add_test_lang,
)
from xlt.sweep.cli.exit_status import OK
from xlt.sweep.cli.on_results import print_warnings, read_results
from xlt.sweep.driver.quick_command import quick_command

if TYPE_CHECKING:
    from xlt.analysis.tables.table import Table
    from xlt.analysis.trials.collect import Collected


def add_commands(commands: Any) -> None:
    """Add the commands that read results, print tables or draw figures."""

    def add(
        name: str, command: Callable[[Any], int], text: str, *examples: str
    ) -> argparse.ArgumentParser:
        parser = add_command(commands, name, command, text, *examples)
        add_results(parser)
        add_format(parser, "text", "md", "latex", "csv")
        return parser

    compare = add(
        "compare", _compare,
        "Compare cells: differences, confidence intervals, tests corrected for their number, and "
        "verdicts.",
        "compare results",
        "compare results --metric f1 --by model --only pattern=ja0",
        "compare results --pairs mini-llama2/ja0:mini-llama2/ja104 --margin 0.02",
    )  # fmt: skip
    add_metric(compare)
    add_only(compare)
    which = compare.add_mutually_exclusive_group()
    which.add_argument(
        "--by", default="pattern", choices=Names(("pattern", "model")),
        help="compare every two patterns of a base model (default), or every two base models of a "
        "pattern",
    )  # fmt: skip
    which.add_argument(
        "--pairs", nargs="+", default=[], metavar="MODEL/PATTERN:MODEL/PATTERN",
        help="compare these pairs of cells only",
    )  # fmt: skip
    compare.add_argument(
        "--paired-seeds", action="store_true", help="compare runs of the same seed"
    )
    compare.add_argument(
        "--correction", default="holm", choices=Names(("holm", "bh", "none")),
        help="correct for the number of comparisons: holm (default; any false result), bh (share "
        "of false results) or none",
    )  # fmt: skip
    compare.add_argument(
        "--margin", type=float, metavar="M",
        help="call cells equivalent if the family interval of their difference lies between -M "
        "and M",
    )  # fmt: skip
    add_resamples(compare, 10_000)
    add_interval_method(compare)
    add_prevalence(compare)
    add_test_lang(compare)

    curves = add(
        "curves", _curves,
        "Print learning curves over target rows, and how many target rows a base model is worth "
        "compared with another.",
        "curves results",
        "curves results --than mbert --metric f1",
    )  # fmt: skip
    add_metric(curves)
    add_only(curves)
    curves.add_argument(
        "--than", metavar="MODEL",
        help="base model that the others are compared with; MODEL/N: its curve with N source rows, "
        "if it has several",
    )  # fmt: skip
    add_resamples(curves, 10_000)
    add_interval_method(curves)
    add_prevalence(curves)
    add_test_lang(curves)

    transfer = add(
        "transfer", _transfer,
        "Print what trials lose from their source language to each other test language, and what "
        "holds over languages: means with intervals, and ranks of base models. With several source "
        "languages, also print the matrix of source and test languages.",
        "transfer results",
        "transfer results --metric f1 --only pattern=ja0 --format csv",
    )  # fmt: skip
    add_metric(transfer)
    add_only(transfer)
    add_interval_method(transfer)
    add_prevalence(transfer)

    boundary = add(
        "boundary", _boundary,
        "Say for each cell whether it ranks texts worse than its reference, and what a better "
        "decision threshold would gain.",
        "boundary results",
        "boundary results --reference ja104 --prior 0.5 --labelled 16",
    )  # fmt: skip
    add_only(boundary)
    boundary.add_argument(
        "--reference", metavar="PATTERN",
        help="pattern that cells are compared with (default: the one with most target rows)",
    )  # fmt: skip
    boundary.add_argument(
        "--prior", type=float, metavar="P",
        help="add F1 at the threshold that calls a share P of the test rows positive; P must be "
        "the true share of positives",
    )  # fmt: skip
    boundary.add_argument(
        "--labelled", action="append", type=int, default=[], metavar="N",
        help="add F1 with a threshold chosen on N labelled test rows; repeatable",
    )  # fmt: skip
    boundary.add_argument(
        "--margin", type=float, default=0.03, metavar="M",
        help="loss in AUROC or macro F1 below which a loss is small (default: 0.03)",
    )  # fmt: skip
    add_interval_method(boundary)
    add_prevalence(boundary)
    add_test_lang(boundary)

    claims = add(
        "claims", _claims, "Test claims about cells; by default the paper's.",
        "claims results",
        "claims results --claims my-claims.yaml --format md",
    )  # fmt: skip
    add_only(claims)
    add_test_lang(claims)
    claims.add_argument("--claims", metavar="FILE", help="a .yaml file (default: the paper's)")
    claims.add_argument(
        "--published", action="store_true",
        help="test them on the paper's own tables, too, and list the differences to these",
    )  # fmt: skip

    oracle = add(
        "oracle", _oracle,
        "Print the scores of learning rates chosen on test rows: an upper bound, not a way to "
        "choose.",
        "oracle results --metric f1",
    )  # fmt: skip
    add_metric(oracle)
    add_only(oracle)

    figures = add_command(
        commands, "figures", _figures, "Draw the figures of an experiment into files.",
        "figures results --out figures",
        "figures results --out figures --kinds roc seeds --only model=elyza --format pdf",
    )  # fmt: skip
    add_results(figures)
    add_only(figures)
    add_test_lang(figures)
    figures.add_argument(
        "--out", required=True, metavar="FOLDER", help="folder of the files, made if missing"
    )
    add_format(figures, "svg", "png", "pdf")
    figures.add_argument(
        "--kinds", nargs="+", default=[], metavar="NAME",
        help="draw these figures only: heat-map, seeds, roc ... (default: all)",
    )  # fmt: skip


@quick_command()
def _compare(options: argparse.Namespace) -> int:
    from xlt.analysis.comparisons.family import compare_cells
    from xlt.analysis.comparisons.table import make_comparison_table

    collected = _read(options)
    family = compare_cells(
        collected, options.metric, options.by, options.pairs, options.resamples,
        options.interval_method, options.paired_seeds, options.correction, options.margin,
    )  # fmt: skip
    left_out = [f"left out: {name}: {why}" for name, why in family.left_out]
    warnings = [*family.gaps, *left_out, *collected.warnings]
    return _print([make_comparison_table(family)], options.format, warnings)


@quick_command()
def _curves(options: argparse.Namespace) -> int:
    from xlt.analysis.curves.learning_curves import make_learning_curves
    from xlt.analysis.curves.table import make_curve_tables

    collected = _read(options)
    curves = make_learning_curves(
        collected, options.metric, options.than, options.resamples, options.interval_method
    )
    return _print(make_curve_tables(curves), options.format, collected.warnings)


@quick_command()
def _transfer(options: argparse.Namespace) -> int:
    from xlt.analysis.languages.tables import make_language_tables

    collected = _read(options)
    tables = make_language_tables(collected, options.metric, options.interval_method)
    return _print(tables, options.format, collected.warnings)


@quick_command()
def _boundary(options: argparse.Namespace) -> int:
    from xlt.analysis.boundary.measure import boundary
    from xlt.analysis.boundary.table import make_boundary_tables

    collected = _read(options)
    cells = boundary(
        collected,
        reference=options.reference,
        prior=options.prior,
        num_labelled=options.labelled,
        method=options.interval_method,
        margin=options.margin,
    )
    tables = make_boundary_tables(collected, cells, options.prior, options.margin)
    return _print(tables, options.format, collected.warnings)


@quick_command()
def _claims(options: argparse.Namespace) -> int:
    from xlt.analysis.claims import PAPER, ResultCells, parse_claims, shipped_claims
    from xlt.analysis.claims.report import make_claims_tables
    from xlt.sweep.experiment.settings_file import read_settings

    if options.claims is None:
        claims = shipped_claims(PAPER)
    elif options.claims.endswith((".yaml", ".yml")):
        claims = parse_claims(read_settings(options.claims), options.claims)
    else:
        raise InputError("is no .yaml file; docs/claims.md describes its content", options.claims)
    collected = _read(options)
    tables = make_claims_tables(claims, ResultCells(collected), published=options.published)
    return _print(tables, options.format, collected.warnings)


@quick_command()
def _oracle(options: argparse.Namespace) -> int:
    from xlt.analysis.search.oracle_rates import find_oracle_rates, make_oracle_table
    from xlt.trainables.metrics.registry import selection_metric

    collected = _read(options)
    metric = options.metric or selection_metric(len(collected.plan.classes))
    rates = find_oracle_rates(collected, metric)
    if not rates:
        raise InputError("no cell has all of its trials done at one learning rate; run them first")
    if all(len(rate.scores) == 1 for rate in rates):
        raise InputError(
            "every cell ran at one learning rate; run a copy of the experiment with another name "
            "and other rates (overrides) in the same results location first"
        )
    table = make_oracle_table(rates, collected.plan.experiment, metric)
    return _print([table], options.format, collected.warnings)


def _figures(options: argparse.Namespace) -> int:
    from xlt.analysis.figures import save_figures

    collected = read_results(options)
    drawn = save_figures(collected, Path(options.out), options.format, options.kinds)
    for figure in drawn:
        if figure.why:
            print(f"left out: {figure.name}: {figure.why}", file=sys.stderr)
    print(f"{sum(not figure.why for figure in drawn)} figures in {options.out}")
    return OK


def _read(options: argparse.Namespace) -> Collected:
    """Read results; an unknown format of tables is refused before anything is computed."""
    from xlt.analysis.tables.formats import find_format

    find_format(options.format)
    return read_results(options)


def _print(tables: Sequence[Table], format: str, warnings: Iterable[str]) -> int:
    """Print tables; only csv has no footnotes, where the tables have their warnings."""
    from xlt.analysis.tables.formats import write_tables

    print(write_tables(tables, format))
    if format == "csv":
        print_warnings(warnings)
    return OK
