"""Read results, write a file and print warnings, the same in all commands on results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from xlt.data.core.errors import InputError

if TYPE_CHECKING:
    from xlt.analysis.trials.collect import Collected


def read_results(options: argparse.Namespace) -> Collected:
    """Read the results that the options name, in the form that they ask for.

    Args:
        options: Options of a command, with those of ``only``, ``prevalence`` and ``test_lang`` that
            it has.
    """
    from xlt.analysis.trials.collect import collect

    asked = {n: v for n, v in vars(options).items() if n in ("only", "prevalence", "test_lang")}
    return collect(options.results, options.experiment, **asked)


def write_file(path: str, content: bytes) -> None:
    """Write a local file atomically; an InputError says why this is not possible."""
    from xlt.data.core.files import replacing

    try:
        with replacing(Path(path)) as stream:
            stream.write(content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path) from error


def print_warnings(warnings: Iterable[str]) -> None:
    """Print warnings on stderr, for formats that do not have them as footnotes."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
