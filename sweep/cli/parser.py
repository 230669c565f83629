"""The parser of the command line, one file a group of commands."""

from __future__ import annotations

import argparse
from importlib import import_module

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
    "completion": ("completion",),
}
"""Module of ``xlt.sweep.cli`` -> the commands that its ``add_commands`` adds, as the help lists
them."""
STATUSES = (
    "Exit status: 0 all done, 1 some trials failed, 2 bad input, 3 a check found errors,\n"
    "130 interrupted. `xlt COMMAND --help` shows examples."
)


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Make the parser; it imports nothing that takes long.

    Args:
        command: A command whose group is enough, because a parser of all takes 15 ms. Any other
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
