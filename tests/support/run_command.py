"""A command of xlt in this process, with all that it prints."""

from __future__ import annotations

import pytest

from xlt.sweep.cli.main import main


def run_command(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    """Exit status of a command, and what it prints to stdout and stderr."""
    status = main(list(command))
    captured = capsys.readouterr()
    return status, captured.out + captured.err
