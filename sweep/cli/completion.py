"""xlt completion: a script that makes a shell complete commands and options."""

from __future__ import annotations

import argparse
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.sweep.cli.arguments import Names, add_command
from xlt.sweep.cli.exit_status import OK

SHELLS = ("bash", "zsh", "tcsh")
"""Shells that shtab writes completion scripts for."""


def add_commands(commands: Any) -> None:
    """Add ``completion`` to the parser."""
    completion = add_command(
        commands, "completion", _completion,
        "Print a script that makes a shell complete xlt's commands and options.",
        "completion bash > ~/.local/share/bash-completion/completions/xlt",
        "completion zsh > ~/.zfunc/_xlt",
    )  # fmt: skip
    completion.add_argument("shell", choices=Names(SHELLS), help="bash, zsh or tcsh")


def _completion(options: argparse.Namespace) -> int:
    import shtab

    from xlt.sweep.cli.parser import make_parser  # which imports this file

    if options.shell not in SHELLS:
        raise InputError(unknown("shell", options.shell, SHELLS))
    print(shtab.complete(make_parser(), options.shell))
    return OK
