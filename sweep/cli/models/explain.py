"""xlt explain and xlt explanations: compute and print token attributions."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.text import plain_line
from xlt.sweep.cli.arguments import (
    Names,
    add_address,
    add_backend,
    add_command,
    add_format,
    add_only,
    add_results,
    add_test_lang,
)
from xlt.sweep.cli.exit_status import OK, SOME_FAILED

METHODS = Names(("lime", "ig", "occlusion"))


def add_commands(commands: Any) -> None:
    """Add ``explain`` and ``explanations`` to the parser."""
    explain = add_command(
        commands, "explain", _explain,
        "Explain the test rows of finished trials with the models that they kept.",
        "explain results",
        "explain results --only model=elyza,pattern=ja104 --method ig --backend inline",
    )  # fmt: skip
    add_results(explain)
    add_only(explain)
    _add_method(explain)
    for flag, names, text in (
        ("--preset", ("lit", "citrus", "lime"), "settings of lime (default: lit)"),
        ("--masks", ("drawn", "all"), "masks of lime: drawn (default), or all 2^T of short texts"),
        (
            "--replacement", ("auto", "mask", "unk", "pad", "space", "delete"),
            "token that replaces a masked token (default: auto)",
        ),
    ):  # fmt: skip
        explain.add_argument(flag, choices=Names(names), help=text)
    explain.add_argument(
        "--class", dest="explained_class", metavar="NAME",
        help="class whose probability is explained, for more than two classes: a class, predicted "
        "(default: the most probable one of each text) or true (its label)",
    )  # fmt: skip
    explain.add_argument(
        "--langs", nargs="+", metavar="LANG",
        help="explain the test rows of these languages (default: the target language)",
    )  # fmt: skip
    for flag, text in (
        ("--num-samples", "number of masks of lime (default: the preset's)"),
        ("--rows", "explain the first N test rows of each language only"),
        ("--seed", "seed of the masks of lime (default: 0)"),
    ):
        explain.add_argument(flag, type=int, metavar="N", help=text)
    add_address(explain)
    add_backend(explain)

    tables = add_command(
        commands, "explanations", _explanations,
        "Print the tokens with the highest mean contribution, their uncertainty, and how similar "
        "the rankings of two patterns are (table 5).",
        "explanations results --only model=elyza",
        "explanations results --method ig --unit word --top 20 --format csv",
    )  # fmt: skip
    add_results(tables)
    add_only(tables)
    add_test_lang(tables)
    _add_method(tables)
    tables.add_argument(
        "--unit", default="subword", choices=Names(("subword", "word")),
        help="rank subwords or words (default: subword)",
    )  # fmt: skip
    tables.add_argument(
        "--target", metavar="CLASS",
        help="class that contributions count towards: positive (default), negative or predicted; "
        "with more than two classes the name of a class, of which only the texts that were "
        "explained for it count (default: tables of each class)",
    )  # fmt: skip
    tables.add_argument(
        "--top", type=int, default=10, metavar="K", help="number of tokens a column (default: 10)"
    )
    tables.add_argument(
        "--min-count", type=int, default=5, metavar="N",
        help="rank tokens that occur in N texts or more (default: 5)",
    )  # fmt: skip
    add_format(tables, "text", "md", "latex", "csv")


def _add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", default="lime", choices=METHODS, help="explanation method (default: lime)"
    )


def _explain(options: argparse.Namespace) -> int:
    from xlt.sweep.explain import explain_trials

    names = ("method", "preset", "masks", "num_samples", "replacement", "rows", "seed", "langs")
    values = {name: getattr(options, name) for name in names}
    values["class"] = options.explained_class
    outcome = explain_trials(
        options.results,
        options.experiment,
        only=options.only,
        settings={name: value for name, value in values.items() if value is not None},
        backend=options.backend,
        address=options.address,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    before = f", {outcome.num_before} were explained before" if outcome.num_before else ""
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    print(f"{outcome.num_explained} trials explained{before}{failed}")
    print(f"Tables: xlt explanations {options.results} --method {options.method}")
    return SOME_FAILED if outcome.failed else OK


def _explanations(options: argparse.Namespace) -> int:
    from xlt.analysis.attributions.collect import load_attributions, load_each_target
    from xlt.analysis.attributions.table import make_attribution_tables
    from xlt.analysis.tables.formats import write_tables
    from xlt.analysis.trials.collect import collect
    from xlt.trainables.spec.explain import Explain

    Explain.parse({"method": options.method})
    collected = collect(
        options.results, options.experiment, only=options.only, test_lang=options.test_lang
    )
    about: dict[str, Any] = {
        "method": options.method,
        "unit": options.unit,
        "min_count": options.min_count,
    }
    if options.target:
        reads = [load_attributions(collected, target=options.target, **about)]
    else:
        by_target, left_out = load_each_target(collected, **about)
        reads = list(by_target.values())
        for name, why in left_out.items():
            print(f"class {plain_line(name)} has no table: {plain_line(why)}", file=sys.stderr)
    tables = [
        table
        for read in reads
        for table in make_attribution_tables(
            collected, read, top=options.top, min_count=options.min_count
        )
    ]
    print(write_tables(tables, options.format))
    return OK
