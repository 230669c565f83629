"""The display of a run: plain lines, or a live grid on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from result_folders import make_spec
from rich.console import Console

from xlt.sweep.driver import progress as module
from xlt.sweep.driver.progress import Progress, clock

SPECS = [make_spec(model, "ja16", seed) for model in ("elyza", "mbert") for seed in (0, 1)]
SCORES = {"f1": 0.5, "auroc": 0.75, "accuracy": 0.25}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock of Progress, which tests advance."""
    time = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    yield time


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def text(of: Console) -> str:
    written = of.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_each_event_is_one_plain_line_if_the_output_is_no_terminal(now: list[float]) -> None:
    out = console(terminal=False)
    with Progress(SPECS, [SPECS[3].trial_id], out) as progress:
        progress.stage("running 3 of 4 trials")
        progress.started(SPECS[0])
        now[0] += 30
        progress.stepped(SPECS[0], 5, 10, 0.69)
        progress.finished(SPECS[0], SCORES)
        progress.started(SPECS[1])
        now[0] += 10
        progress.failed(SPECS[1], "ValueError: [/bold] no\nsecond line")
    assert text(out).splitlines() == [
        "running 3 of 4 trials",
        "[1/3] elyza ja16 seed 0: f1 0.500 auroc 0.750 (30.0 s; 1:00 left)",
        "[2/3] elyza ja16 seed 1: FAILED: ValueError: [/bold] no (10.0 s; 20 s left)",
    ]


def test_a_terminal_shows_the_grid_with_failures_above_it(now: list[float]) -> None:
    out = console(terminal=True)
    with Progress(SPECS, [SPECS[3].trial_id], out) as progress:
        progress.stage("running 3 of 4 trials")
        progress.started(SPECS[0])
        progress.stepped(SPECS[0], 5, 10, 0.693)
        progress.started(SPECS[1])
        progress.failed(SPECS[1], "too hot")
        now[0] += 15
    shown = text(out)
    assert "[1/3] elyza ja16 seed 1: FAILED: too hot" in shown
    last = shown[shown.rindex("running 3 of 4") :]
    assert "1/3 · 15 s" in last
    rows = {line.split()[1]: line for line in last.splitlines() if "│" in line}
    assert "50%/0.69 ✗" in rows["elyza"]
    assert "· ✓" in rows["mbert"]


def test_only_a_trial_with_steps_has_saved_a_checkpoint() -> None:
    out = console(terminal=False)
    with Progress(SPECS, [], out) as progress:
        progress.preempted(SPECS[0], 5)
        progress.preempted(SPECS[1], 0)
    assert text(out).splitlines() == [
        "  elyza ja16 seed 0: preempted at step 5; a checkpoint was saved",
        "  elyza ja16 seed 1: preempted and will start again",
    ]


def test_time_left_is_unknown_before_the_first_step() -> None:
    out = console(terminal=True)
    with Progress(SPECS, [], out) as progress:
        progress.started(SPECS[0])
    assert "? left" in text(out)


def test_a_restarted_trial_loses_its_progress() -> None:
    out = console(terminal=True)
    with Progress(SPECS, [], out) as progress:
        progress.started(SPECS[0])
        progress.stepped(SPECS[0], 9, 10, 0.5)
        progress.started(SPECS[0])
    assert "0%/0.50" not in text(out)[text(out).rindex("base model") :]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_clock_formats_seconds(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
