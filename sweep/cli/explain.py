"""xlt explain and xlt explanations: which tokens the probabilities come from."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.sweep.cli.arguments import add_address, add_cells

DONE, SOME_FAILED = 0, 1


def add_explain_commands(commands: Any) -> None:
    """Add ``explain`` and ``explanations`` to the parser."""
    text = "Explain the test rows of done trials from the models that they kept."
    explain = commands.add_parser("explain", help=text, description=text)
    explain.set_defaults(command=_explain)
    explain.add_argument("results", metavar="RESULTS", help="folder or URI")
    explain.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
    add_cells(explain)
    explain.add_argument("--method", default="lime", help="lime (default), ig or occlusion")
    explain.add_argument("--preset", help="of lime: lit (default), citrus or lime")
    explain.add_argument("--masks", help="of lime: drawn (default), or all 2^T of short texts")
    explain.add_argument("--num-samples", type=int, metavar="N", help="of lime; as the preset has")
    explain.add_argument("--replacement", help="auto (default), mask, unk, pad, space or delete")
    explain.add_argument("--rows", type=int, metavar="N", help="first test rows only")
    explain.add_argument("--seed", type=int, metavar="N", help="of lime's masks; 0")
    add_address(explain)
    explain.add_argument("--backend", default="ray", help="ray (default) or inline")

    text = "Table 5: tokens with the highest mean contribution, how sure, and how alike."
    tables = commands.add_parser("explanations", help=text, description=text)
    tables.set_defaults(command=_explanations)
    tables.add_argument("results", metavar="RESULTS", help="folder or URI")
    tables.add_argument("--experiment", metavar="NAME", help="which one, if there are several")
    tables.add_argument("--model", metavar="NAME", help="base model; default: all explained ones")
    tables.add_argument("--method", default="lime", help="lime (default), ig or occlusion")
    tables.add_argument("--unit", default="subword", help="subword (default) or word")
    tables.add_argument(
        "--target", default="positive", help="class: positive (default), negative or predicted"
    )
    tables.add_argument("--top", type=int, default=10, metavar="K", help="tokens a column (10)")
    tables.add_argument(
        "--min-count", type=int, default=5, metavar="N", help="texts a token must be in (5)"
    )
    tables.add_argument("--format", default="text", help="text (default), md or csv")


def _explain(options: argparse.Namespace) -> int:
    from xlt.sweep.explain import explain_trials
    from xlt.trainables.spec.explain import Explain

    names = ("method", "preset", "masks", "num_samples", "replacement", "rows", "seed")
    values = {name: getattr(options, name) for name in names}
    made = explain_trials(
        options.results,
        options.experiment,
        options.cells,
        Explain.parse({name: value for name, value in values.items() if value is not None}),
        backend=options.backend,
        address=options.address,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    there = f", {made.num_there} were explained before" if made.num_there else ""
    failed = f", {len(made.failed)} failed" if made.failed else ""
    print(f"{made.num_made} trials explained{there}{failed}")
    print(f"Tables: xlt explanations {options.results} --method {options.method}")
    return SOME_FAILED if made.failed else DONE


def _explanations(options: argparse.Namespace) -> int:
    from xlt.analysis.attributions.collect import load_attributions
    from xlt.analysis.attributions.table import attribution_grids
    from xlt.analysis.tables.grids import write_grids
    from xlt.analysis.trials.collect import collect
    from xlt.trainables.spec.explain import Explain

    Explain.parse({"method": options.method})
    collected = collect(options.results, options.experiment)
    read = load_attributions(
        collected,
        method=options.method,
        model=options.model,
        unit=options.unit,
        target=options.target,
        min_count=options.min_count,
    )
    grids = attribution_grids(collected, read, top=options.top, min_count=options.min_count)
    print(write_grids(grids, options.format))
    return DONE
