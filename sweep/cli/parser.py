"""The parser of the command line, one file a group of commands, and completion made of it."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from xlt.data.core.errors import InputError, unknown
from xlt.sweep.cli.arguments import Names, add_command
from xlt.sweep.cli.exit_status import OK

GROUPS = {
    "run": ("plan", "run", "clean"),
    "check": ("check",),
    "search": ("search",),
    "report": ("status", "report"),
    "analysis": ("compare", "curves", "transfer", "boundary", "claims", "oracle", "figures"),
    "models.explain": ("explain", "explanations"),
    "models.predict": ("predict",),
    "models.export": ("export",),
    "models.lit": ("lit",),
    "track": ("track",),
    "data": ("data",),
    "cluster": ("submit", "job", "cluster"),
    "parser": ("completion",),
}
"""Module of ``xlt.sweep.cli`` -> the commands that its ``add_commands`` adds, as the help lists
them."""
SHELLS = ("bash", "zsh", "tcsh")
"""Shells that shtab writes completion scripts for."""
STATUSES = (
    "Exit status: 0 all done, 1 some trials failed, 2 bad input, 3 a check found errors,\n"
    "130 interrupted. `xlt COMMAND --help` shows examples."
)


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Make the parser; it imports nothing that takes long.

    Args:
        command: A command whose group is enough, because a parser of all takes 12 ms. Any other
            word gives the parser of all commands, which knows what to say about it.
    """
    parser = argparse.ArgumentParser(
        prog="xlt",
        description="Measures how well language models carry a task from one language to another.",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = [module for module, names in GROUPS.items() if command in names] or list(GROUPS)
    for module in modules:
        import_module(f"xlt.sweep.cli.{module}").add_commands(commands)
    return parser


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

    if options.shell not in SHELLS:
        raise InputError(unknown("shell", options.shell, SHELLS))
    print(shtab.complete(make_parser(), options.shell))
    return OK
