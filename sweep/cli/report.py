"""xlt report: tables on the terminal, or a file; a page that is written again while trials end."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from xlt.data.core.errors import InputError, unknown

if TYPE_CHECKING:
    from xlt.analysis.trials.collect import Collected

DONE = 0
WATCH_SECONDS = 10
"""Between two looks at the results."""
FILES = ("html", "parquet")
"""Formats that are no text for a terminal."""


def write_report(options: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        InputError: An unknown format, a file format without ``--out``, ``--watch`` of another than
            html, or results that cannot be read.
    """
    from xlt.analysis.tables.formats import FORMATS
    from xlt.analysis.trials.collect import collect

    if options.format not in (known := {*FORMATS, *FILES}):
        raise InputError(unknown("format", options.format, known))
    if options.format in FILES and not options.out:
        example = f"--out report.{options.format}"
        raise InputError(f"{options.format} is a file: give --out FILE, e.g. {example}")
    if options.watch is not None:
        return _watch(options)
    collected = collect(options.results, options.experiment)
    content = _content(options, collected)
    if options.out:
        write_file(options.out, content)
    else:
        print(content.decode())
    if options.format == "csv":  # has no place for them
        for warning in collected.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    return DONE


def write_file(path: str, content: bytes) -> None:
    """Write a local file atomically; an InputError says why this is not possible."""
    from xlt.data.core.files import replacing

    try:
        with replacing(Path(path)) as stream:
            stream.write(content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path) from error


def _content(options: argparse.Namespace, collected: Collected) -> bytes:
    if options.format == "html":
        from xlt.analysis.page import render_page

        return render_page(collected, options.interval_method).encode()
    if options.format == "parquet":
        from xlt.data.core.files import to_parquet

        return to_parquet(collected.table)
    from xlt.analysis.tables.report import render_tables

    intervals = None
    if options.intervals:
        from xlt.analysis.trials.scores import load_scores
        from xlt.analysis.uncertainty.intervals import CellIntervals

        intervals = CellIntervals(load_scores(collected), options.interval_method)
    return render_tables(
        collected, options.format, published=options.published, intervals=intervals
    ).encode()


def _watch(options: argparse.Namespace) -> int:
    """Write the page whenever a trial ended, the last time as a page that is not watched."""
    from xlt.analysis.page import Watched, render_page
    from xlt.analysis.trials.collect import collect

    if options.format != "html":
        raise InputError(f"--watch is for --format html, not {options.format}")
    if options.watch < 1:
        raise InputError(f"--watch {options.watch} is no number of seconds; give 1 or more")
    written = None
    try:
        while True:
            collected = collect(options.results, options.experiment)
            states = [row.state for row in collected.rows]
            if states.count("done") == len(states):
                break
            seen = collected.rows, collected.warnings
            if seen != written:
                watched = Watched(options.watch)
                write_file(
                    options.out, render_page(collected, options.interval_method, watched).encode()
                )
                written = seen
                told = f"{states.count('done')} of {len(states)} trials done"
                print(f"{told}: {options.out}", file=sys.stderr)
            time.sleep(options.watch)
    except KeyboardInterrupt:
        _finish(options, collect(options.results, options.experiment))
        raise
    _finish(options, collected)
    return DONE


def _finish(options: argparse.Namespace, collected: Collected) -> None:
    write_file(options.out, _content(options, collected))
    print(f"the page is complete: {options.out}", file=sys.stderr)
