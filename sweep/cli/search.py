"""xlt search: choose a learning rate for each cell on dev rows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import (
    add_address,
    add_adopt,
    add_command,
    add_experiment,
    add_format,
    add_only,
    add_wait,
)
from xlt.sweep.cli.exit_status import INTERRUPTED, OK
from xlt.sweep.cli.on_results import write_file


def add_commands(commands: Any) -> None:
    """Add ``search`` to the parser."""
    parser = add_command(
        commands, "search", _search,
        "Choose a learning rate for each cell on development rows; test rows are not read.",
        "search my.yaml --out learning_rates.yaml",
        "search my.yaml --only model=llama2 --figure search.svg",
    )  # fmt: skip
    add_experiment(parser)
    add_only(parser)
    add_address(parser)
    add_wait(parser)
    add_adopt(parser)
    add_format(parser, "text", "md", "latex", "csv")
    parser.add_argument("--all", action="store_true", help="print every configuration tried")
    parser.add_argument(
        "--out", metavar="FILE", default="learning_rates.yaml",
        help="file that an experiment includes as `learning_rates` (default: learning_rates.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--figure", metavar="FILE",
        help="draw dev score against learning rate into a .svg, .png or .pdf file",
    )  # fmt: skip


def _search(options: argparse.Namespace) -> int:
    from xlt.analysis.search.table import make_search_tables
    from xlt.analysis.tables.formats import find_format
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.search.run import search_rates

    write = find_format(options.format)
    experiment = load_experiment(options.experiment, options.settings)
    outcome = search_rates(
        experiment, options.results, address=options.address, only=options.only,
        wait=options.wait, adopt=options.adopt,
    )  # fmt: skip
    print(write(make_search_tables(outcome.plan, outcome.choices, options.all)))
    if options.figure:
        from xlt.analysis.figures.search import save_search_figure

        save_search_figure(outcome.plan, outcome.choices, Path(options.figure))
    if outcome.interrupted:
        print("Stopped; the same command resumes the search and repeats nothing.", file=sys.stderr)
        return INTERRUPTED
    if outcome.was_done:
        print("All configurations were tried before; nothing ran.", file=sys.stderr)
    if not outcome.chosen.cells:
        raise InputError("no configuration of any cell finished, so no learning rate was chosen")
    write_file(options.out, outcome.chosen.to_yaml().encode())
    print(f"Written: {options.out}; include it with `learning_rates: {options.out}`")
    return OK
