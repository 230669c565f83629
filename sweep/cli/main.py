"""The command line ``xlt``: one command, from its arguments to the exit status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, INTERRUPTED, OK
from xlt.sweep.cli.parser import make_parser
from xlt.sweep.driver.plain_output import plain_output
from xlt.sweep.driver.quick_command import end_at_once


def program() -> NoReturn:
    """Run the command line as a program: the process ends with the exit status."""
    _use_utf8()
    status = main()
    end_at_once(status)
    gc.freeze()  # else Python walks all imported objects once more before it ends, for a second
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    with plain_output():
        return _run(sys.argv[1:] if arguments is None else arguments)


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode if this locale cannot name a Japanese file.

    Python does so itself in the C locale, unless PYTHONUTF8=0. Ray's workers read the variable.
    """
    try:
        "語".encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _run(words: Sequence[str]) -> int:
    options = make_parser(words[0] if words else None).parse_args(words)
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
