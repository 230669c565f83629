"""The command line ``xlt``: one file a group of commands."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.sweep.cli.analysis import add_analysis_commands
from xlt.sweep.cli.arguments import Names, add_command
from xlt.sweep.cli.check import add_check_command
from xlt.sweep.cli.cluster import add_cluster_commands, add_submit_commands
from xlt.sweep.cli.data import add_data_commands
from xlt.sweep.cli.exit_status import BAD_INPUT, INTERRUPTED, OK
from xlt.sweep.cli.models.explain import add_explain_commands
from xlt.sweep.cli.models.export import add_export_command
from xlt.sweep.cli.models.lit import add_lit_commands
from xlt.sweep.cli.models.predict import add_predict_command
from xlt.sweep.cli.report import add_report_commands
from xlt.sweep.cli.run import add_run_commands
from xlt.sweep.cli.search import add_search_command
from xlt.sweep.cli.track import add_track_command
from xlt.sweep.driver.plain_output import plain_output

SHELLS = ("bash", "zsh", "tcsh")
"""Shells that shtab writes completion scripts for."""
STATUSES = (
    "Exit status: 0 all done, 1 some trials failed, 2 bad input, 3 a check found errors,\n"
    "130 interrupted. `xlt COMMAND --help` shows examples."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    if arguments is None:
        _use_utf8()
    with plain_output():
        status = _run(arguments)
    if arguments is None:
        gc.freeze()  # else Python walks all imported objects once more before it ends, for a second
    return status


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode if this locale cannot name a Japanese file.

    Python does so itself in the C locale, unless PYTHONUTF8=0. Ray's workers read the variable.
    """
    try:
        "語".encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _run(arguments: Sequence[str] | None) -> int:
    options = make_parser().parse_args(arguments)
    command: Callable[[Any], int] = options.command
    try:
        _refuse_homeless()
        status = command(options)
        if sys.stdout:  # None if the caller closed it
            sys.stdout.flush()
        return status
    except InputError as error:
        print(f"xlt: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output, e.g. head, has ended
        _discard_output()
        return OK
    except OSError as error:  # no access, a full disk, a broken network ...
        place = f"{error.filename}: " if error.filename else ""
        print(f"xlt: {place}{error.strerror or error}", file=sys.stderr)
        _discard_output()
        return BAD_INPUT


def _refuse_homeless() -> None:
    """Refuse a user without a home folder, such as a number that is no user of a container.

    Packages that look for their caches would end with an error of their own.

    Raises:
        InputError: Neither HOME nor the machine's list of users names a folder.
    """
    try:
        Path.home()
    except RuntimeError as error:
        raise InputError("this user has no home folder; set HOME to one") from error


def _discard_output() -> None:
    """Discard the output that cannot be written, because Python would try it again at its end."""
    if sys.stdout:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of every command; it imports nothing that takes long."""
    parser = argparse.ArgumentParser(
        prog="xlt",
        description="Measures how well language models carry a task from one language to another.",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_run_commands(commands)
    add_check_command(commands)
    add_search_command(commands)
    add_report_commands(commands)
    add_analysis_commands(commands)
    add_explain_commands(commands)
    add_predict_command(commands)
    add_export_command(commands)
    add_lit_commands(commands)
    add_track_command(commands)
    add_data_commands(commands)
    add_submit_commands(commands)
    add_cluster_commands(commands)
    completion = add_command(
        commands, "completion", _completion,
        "Print a script that makes a shell complete xlt's commands and options.",
        "completion bash > ~/.local/share/bash-completion/completions/xlt",
        "completion zsh > ~/.zfunc/_xlt",
    )  # fmt: skip
    completion.add_argument("shell", choices=Names(SHELLS), help="bash, zsh or tcsh")
    return parser


def _completion(options: argparse.Namespace) -> int:
    import shtab

    if options.shell not in SHELLS:
        raise InputError(unknown("shell", options.shell, SHELLS))
    print(shtab.complete(make_parser(), options.shell))
    return OK
