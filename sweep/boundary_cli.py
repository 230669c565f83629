"""xlt boundary, xlt claims: what the results say about the question, beyond the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from data.errors import InputError


def add_boundary_commands(commands: Any) -> None:
    """Add ``boundary`` and ``claims`` to the parser of `xlt`."""

    def add(name: str, command: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        sub.add_argument("results", metavar="RESULTS", help="folder or URI")
        sub.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
        sub.add_argument("--format", default="text", help="text (default), md or csv")
        return sub

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
    claims = add("claims", _claims, "Test claims over cells; by default the paper's.")
    claims.add_argument("--claims", metavar="FILE", help="a .yaml file; default: the paper's")
    claims.add_argument(
        "--published", action="store_true",
        help="test them on the paper's own tables, too, and list the differences to these",
    )  # fmt: skip


def _boundary(options: argparse.Namespace) -> int:
    from analysis.boundary import boundary
    from analysis.boundary_table import boundary_grids
    from analysis.collect import collect
    from analysis.grids import write_grids

    collected = collect(options.results, options.experiment)
    judged = boundary(
        collected,
        reference=options.reference,
        prior=options.prior,
        num_labelled=options.labelled,
    )
    grids = boundary_grids(collected, judged, options.prior)
    print(write_grids(grids, options.format))
    _warn(options.format, collected.warnings)
    return 0


def _claims(options: argparse.Namespace) -> int:
    from analysis.claims import PAPER, ResultCells, parse_claims, shipped_claims
    from analysis.claims.report import claims_grids
    from analysis.collect import collect
    from analysis.grids import write_grids
    from sweep.experiment import read_settings

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
    return 0


def _warn(format: str, warnings: Sequence[str]) -> None:
    if format == "csv":  # has no place for them
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
