"""xlt status and xlt report: what is done, tables, and a page that follows a running sweep."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError, unknown
from xlt.sweep.cli.arguments import (
    Names,
    add_command,
    add_interval_method,
    add_only,
    add_prevalence,
    add_results,
    add_test_lang,
)
from xlt.sweep.cli.exit_status import OK
from xlt.sweep.cli.on_results import print_warnings, read_results, write_file
from xlt.sweep.driver.quick_command import quick_command

if TYPE_CHECKING:
    from xlt.analysis.metrics.operating_points import Rule
    from xlt.analysis.trials.collect import Collected
    from xlt.analysis.uncertainty.intervals import CellIntervals

WATCH_SECONDS = 10
"""Default time between two looks at the results."""
FILES = ("html", "parquet", "eee")
"""Formats that are written to a file or a folder, never to a terminal."""
WITH_COST = ("text", "md", "html")
"""Formats that say what trials cost."""


def add_commands(commands: Any) -> None:
    """Add ``status`` and ``report`` to the parser."""
    status = add_command(
        commands, "status", _status,
        "Print which trials of a results location are done, failed and missing.",
        "status results",
        "status s3://bucket/results --experiment paper --only pattern=ja0",
        "status results --price H100=2.49",
    )  # fmt: skip
    report = add_command(
        commands, "report", _report, "Print the tables of an experiment, or write them to a file.",
        "report results",
        "report results --format latex --intervals --out tables.tex",
        "report results --metrics precision recall",
        "report results --confusion",
        "report results --prevalence 0.02 --threshold precision=0.5",
        "report results --format html --out report.html --watch",
        "report results --format eee --organization my-lab --out records",
    )  # fmt: skip
    for parser in (status, report):
        add_results(parser)
        add_only(parser)
        parser.add_argument(
            "--price", action="append", default=[], metavar="TYPE=AMOUNT",
            help="price of an hour of a type of GPU or of a CPU core, from which the cost of done "
            "trials is computed: H100=2.49, CPU=0.04; repeatable; default: the experiment's",
        )  # fmt: skip
    report.add_argument(
        "--format", default="text",
        choices=Names(("text", "md", "latex", "csv", "html", "parquet", "eee")),
        help="format of the output (default: text); parquet has a row a trial, eee is a folder of "
        "records for Every Eval Ever",
    )  # fmt: skip
    report.add_argument(
        "--out", metavar="FILE", help="write to this file; html and parquet need one, eee a folder"
    )
    report.add_argument(
        "--watch", nargs="?", type=int, const=WATCH_SECONDS, metavar="SECONDS",
        help=f"write the html page again whenever a trial ends (default: {WATCH_SECONDS})",
    )  # fmt: skip
    report.add_argument("--organization", metavar="NAME", help="with eee: who ran the experiment")
    report.add_argument(
        "--texts", action="store_true", help="with eee: write the texts of the test rows, too"
    )
    report.add_argument(
        "--metrics", nargs="+", metavar="NAME",
        help="metrics of the tables, e.g. precision recall (default: f1 auroc)",
    )  # fmt: skip
    report.add_argument(
        "--published", action="store_true",
        help="show the paper's values beside ours; html always does",
    )  # fmt: skip
    report.add_argument(
        "--intervals", action="store_true",
        help="show 95 %% confidence intervals over seeds and test rows; html always does",
    )  # fmt: skip
    report.add_argument(
        "--confusion", action="store_true",
        help="print precision, recall and F1 of each class, and the classes that were predicted "
        "for its rows, instead of the tables of metrics; html shows them with more than two "
        "classes",
    )  # fmt: skip
    add_interval_method(report)
    add_prevalence(report)
    add_test_lang(report)
    report.add_argument(
        "--threshold", metavar="RULE",
        help="with --prevalence, count alarms at the threshold of this rule: precision=0.5, or "
        "alarms=20 for 20 alarms in 1,000 texts",
    )  # fmt: skip


@quick_command()
def _status(options: argparse.Namespace) -> int:
    from xlt.analysis.summary.cost import describe_cost, with_prices
    from xlt.analysis.trials.collect import collect
    from xlt.analysis.trials.status import status

    collected = collect(options.results, options.experiment, only=options.only, allow_mixed=True)
    collected = with_prices(collected, options.price)
    print("\n".join([status(collected), *describe_cost(collected)]))
    return OK


def _report(options: argparse.Namespace) -> int:
    from xlt.analysis.tables.formats import FORMATS

    if options.format not in (known := {*FORMATS, *FILES}):
        raise InputError(unknown("format", options.format, known))
    if options.format in FILES and not options.out:
        kind, name = ("folder", "records") if options.format == "eee" else (
            "file", f"report.{options.format}"
        )  # fmt: skip
        remedy = f"give --out {kind.upper()}, e.g. --out {name}"
        raise InputError(f"{options.format} is a {kind}: {remedy}")
    if options.metrics and options.format in FILES:
        raise InputError(f"--metrics is for tables; {options.format} has its own")
    if options.confusion and options.format in FILES:
        raise InputError(f"--confusion is for tables; {options.format} has its own")
    if options.price and options.format not in WITH_COST:
        raise InputError(f"--price is for {', '.join(WITH_COST)}; {options.format} has no cost")
    if (options.texts or options.organization) and options.format != "eee":
        raise InputError("--texts and --organization are for --format eee")
    if options.watch is not None:
        return _watch(options)
    if options.format == "eee" and options.prevalence:
        raise InputError("eee has the test rows as they are; omit --prevalence")
    return _report_once(options)


@quick_command()
def _report_once(options: argparse.Namespace) -> int:
    collected = _collect(options)
    if options.format == "eee":
        return _write_records(options, collected)
    content = _content(options, collected)
    if options.out:
        write_file(options.out, content)
    else:
        print(content.decode())
    if options.format == "csv":  # other formats print warnings as footnotes
        print_warnings(collected.warnings)
    return OK


def _collect(options: argparse.Namespace) -> Collected:
    from xlt.analysis.summary.cost import with_prices

    return with_prices(read_results(options), options.price)


def _write_records(options: argparse.Namespace, collected: Collected) -> int:
    """Write the records of Every Eval Ever."""
    from xlt.analysis.eee.aggregates import Origin
    from xlt.analysis.eee.write import write_eee
    from xlt.sweep.experiment.hub_data import find_hub_data
    from xlt.trainables.results.result import Results
    from xlt.trainables.results.texts import read_texts

    location, name = Results(collected.uri), collected.plan.experiment
    texts = read_texts(location, name) if options.texts else None
    if options.texts and not texts:
        raise InputError("the experiment keeps no texts (storage.keep_texts); omit --texts")
    hub_data = find_hub_data(location, name)
    origin = Origin(name, options.organization or "", int(time.time()), hub_data)
    files = write_eee(collected, Path(options.out), origin, texts)
    print(f"{len(files)} records, one for each cell with a done run: {options.out}")
    print_warnings(collected.warnings)
    return OK


def _content(options: argparse.Namespace, collected: Collected) -> bytes:
    if options.format == "html":
        from xlt.analysis.page import render_page

        return render_page(collected, options.interval_method).encode()
    if options.format == "parquet":
        from xlt.data.core.files import to_parquet

        return to_parquet(collected.table)
    if options.confusion:
        from xlt.analysis.tables.classes import make_class_table
        from xlt.analysis.tables.formats import write_tables
        from xlt.analysis.trials.scores import load_scores

        table = make_class_table(collected, load_scores(collected))
        return write_tables([table], options.format).encode()
    from xlt.analysis.summary.cost import describe_cost
    from xlt.analysis.tables.report import render_tables

    intervals = None
    if options.intervals:
        from xlt.analysis.trials.scores import load_scores
        from xlt.analysis.uncertainty.intervals import CellIntervals

        scores = load_scores(collected)
        intervals = CellIntervals(scores, options.interval_method, collected.prevalence)
    tables = render_tables(
        collected,
        options.format,
        published=options.published,
        metrics=options.metrics,
        intervals=intervals,
        rule=_rule(options.threshold),
    )
    if intervals and options.format in ("text", "md"):
        tables += f"\n\n{_summarise(collected, intervals)}"
    if options.format in WITH_COST:
        tables = "\n\n".join([tables, *describe_cost(collected)])
    return tables.encode()


def _summarise(collected: Collected, intervals: CellIntervals) -> str:
    """Write the three answers below the tables, or why there are none."""
    from xlt.analysis.summary.sentences import summarise

    try:
        parts = summarise(collected, intervals).parts
    except InputError as error:
        return f"No summary: {error}."
    return "\n\n".join(f"{heading}: {answer}" for heading, answer in parts)


def _rule(text: str | None) -> Rule | None:
    from xlt.analysis.metrics.operating_points import EXAMPLES, parse_rule

    if text is None:
        return None
    rule = parse_rule(text)
    if rule is None:
        raise InputError(f"{text!r} is no rule; give {EXAMPLES}", "--threshold")
    return rule


def _watch(options: argparse.Namespace) -> int:
    """Write the page whenever a trial ended; the last page does not reload itself."""
    from xlt.analysis.page import Watched, render_page

    if options.format != "html":
        raise InputError(f"--watch is for --format html, not {options.format}")
    if options.watch < 1:
        raise InputError(f"--watch {options.watch} is not a number of seconds; give 1 or more")
    written = None
    try:
        while True:
            collected = _collect(options)
            states = [row.state for row in collected.rows]
            if states.count("done") == len(states):
                break
            seen = collected.rows, collected.warnings
            if seen != written:
                watched = Watched(options.watch)
                page = render_page(collected, options.interval_method, watched)
                write_file(options.out, page.encode())
                written = seen
                progress = f"{states.count('done')} of {len(states)} trials done"
                print(f"{progress}: {options.out}", file=sys.stderr)
            time.sleep(options.watch)
    except KeyboardInterrupt:
        _finish(options, _collect(options))
        raise
    _finish(options, collected)
    return OK


def _finish(options: argparse.Namespace, collected: Collected) -> None:
    write_file(options.out, _content(options, collected))
    print(f"the page is complete: {options.out}", file=sys.stderr)
