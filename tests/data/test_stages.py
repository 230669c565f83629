"""Stages are shown on stderr only while a command takes long, and when they change."""

from __future__ import annotations

import time

import pytest

from xlt.data.core.stages import enter_stage, show_stages


def test_quick_commands_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_stages(seconds=60):
        enter_stage("reading the data")
    assert capsys.readouterr().err == ""


def test_slow_commands_show_each_stage_once(capsys: pytest.CaptureFixture[str]) -> None:
    with show_stages(seconds=0.2):
        for stage in ("reading the data", "drawing rows"):
            enter_stage(stage)
            time.sleep(0.7)
    out, err = capsys.readouterr()
    stages = [line.partition(" s: ")[2] for line in err.splitlines()]
    assert (out, stages) == ("", ["reading the data ...", "drawing rows ..."])


def test_an_error_ends_the_watch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), show_stages(seconds=0.05):
        raise ValueError
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
