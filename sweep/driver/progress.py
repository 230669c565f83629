"""Show the progress of a sweep: a live grid on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xlt.data.core.text import first_line
from xlt.sweep.driver.console import say
from xlt.sweep.driver.plain_output import plain_output
from xlt.sweep.driver.silence import SilenceWatch
from xlt.trainables.spec.trial_spec import TrialSpec

MARKS = {"pending": ("·", "dim"), "done": ("✓", "green"), "failed": ("✗", "bold red")}
"""State of a trial -> (symbol, style) in the live grid."""


class Progress:
    """Shows the events that a backend receives from its trials.

    Args:
        specs: Every trial of the experiment, cell by cell.
        done: Ids of trials that are finished already.
        console: Output; a live grid if it is a terminal, else one line per event.
        logs: Where a reader finds out why nothing happens; empty if there is no such place.
        ended: Receiver of the id of each trial that finished or failed.
    """

    def __init__(
        self,
        specs: Iterable[TrialSpec],
        done: Iterable[str],
        console: Console,
        logs: str = "",
        ended: Callable[[str], None] = lambda trial_id: None,
    ) -> None:
        self.specs = {spec.trial_id: spec for spec in specs}
        self.states = dict.fromkeys(self.specs, "pending") | dict.fromkeys(done, "done")
        self.console = console
        self._fractions: dict[str, float] = {}
        self._losses: dict[str, float] = {}
        self._starts: dict[str, float] = {}
        self._stage = "starting"
        self._start = time.monotonic()
        # Totals are updated with each event: there may be ten thousand trials to sum up.
        self._steps = {i: s.num_steps for i, s in self.specs.items() if self.states[i] == "pending"}
        self._num_steps, self._steps_done = sum(self._steps.values()), 0.0
        self._ended: set[str] = set()
        self._logs, self._report_ended = logs, ended
        self._blocks = ExitStack()
        self._silence = SilenceWatch(
            "no trial has made a step", self._describe, lambda line: say(console, line)
        )
        self._live = (
            Live(console=console, get_renderable=self._grid, refresh_per_second=4)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live:
            self._live.start()
            self._blocks.enter_context(plain_output())  # the Live has replaced the streams
        self._blocks.enter_context(self._silence)
        return self

    def __exit__(self, *_: object) -> None:
        """Draw the final state and stop."""
        self._blocks.close()
        if self._live:
            self._live.stop()

    # --- events from a backend --------------------------------------------------------------

    def stage(self, text: str) -> None:
        """Show that a new stage began, for example the pre-training of miniatures."""
        self._stage = text
        self._start = time.monotonic()
        self._silence.heard()
        self._say(text)

    def pretrained(self, name: str) -> None:
        """Show that a miniature is pre-trained."""
        self._silence.heard()
        self._say(f"  {name} pre-trained after {clock(time.monotonic() - self._start)}")

    def started(self, spec: TrialSpec) -> None:
        """Show that a trial started or restarted."""
        self._starts[spec.trial_id] = time.monotonic()
        self._losses.pop(spec.trial_id, None)
        self._set(spec, "running", 0.0)

    def stepped(self, spec: TrialSpec, step: int, num_steps: int, loss: float) -> None:
        """Show the step that a trial has reached."""
        self._silence.heard()
        self._losses[spec.trial_id] = loss
        self._set(spec, "running", step / num_steps)

    def finished(self, spec: TrialSpec, metrics: Mapping[str, float]) -> None:
        """Show the first two metrics of a finished trial."""
        self._set(spec, "done", 1.0)
        values = " ".join(f"{name} {value:.3f}" for name, value in list(metrics.items())[:2])
        self._say_ended(spec, values)

    def failed(self, spec: TrialSpec, error: str) -> None:
        """Show the first line of the error that ended a trial."""
        self._set(spec, "failed", 1.0)
        self._say_ended(spec, f"FAILED: {first_line(error)}")

    def died(self, spec: TrialSpec) -> None:
        """Show that the process of a trial died and the trial will restart."""
        self._wait_again(spec)
        self._say(f"  {_label(spec)}: its process died; the trial will restart")

    def preempted(self, spec: TrialSpec, step: int) -> None:
        """Show that a trial stopped at a step, because its machine is taken away."""
        self._wait_again(spec)
        # A baseline takes no steps and has no checkpoint.
        how = f"at step {step}; a checkpoint was saved" if step else "and will start again"
        self._say(f"  {_label(spec)}: preempted {how}")

    # --- display ----------------------------------------------------------------------------

    def _wait_again(self, spec: TrialSpec) -> None:
        self._set(spec, "pending", 0.0)
        self._losses.pop(spec.trial_id, None)

    def _describe(self) -> str:
        """Say where the trials stand, when nothing happens."""
        states = Counter(self.states.values())
        counts = f"{states['running']} run, {states['pending']} wait for a worker process"
        return f"{self._stage}; {counts}" + (f"; see {self._logs}" if self._logs else "")

    def _say_ended(self, spec: TrialSpec, text: str) -> None:
        self._silence.heard()
        self._report_ended(spec.trial_id)
        seconds = time.monotonic() - self._starts.get(spec.trial_id, self._start)
        counts = f"[{self._counts()}]"
        self._say(f"{counts} {_label(spec)}: {text} ({seconds:.1f} s; {self._time_left()} left)")

    def _set(self, spec: TrialSpec, state: str, fraction: float) -> None:
        trial_id = spec.trial_id
        self.states[trial_id] = state
        change = fraction - self._fractions.get(trial_id, 0.0)
        self._fractions[trial_id] = fraction
        self._steps_done += change * self._steps.get(trial_id, 0)
        if state in ("done", "failed"):
            self._ended.add(trial_id)
        else:
            self._ended.discard(trial_id)

    def _counts(self) -> str:
        """Return the number of trials that ended, of all that this run started with."""
        return f"{len(self._ended)}/{len(self._steps)}"

    def _say(self, line: str) -> None:
        if not self._live:
            say(self.console, line)
        elif "FAILED" in line:
            say(self._live.console, line, style="red")

    def _time_left(self) -> str:
        """Estimate the remaining time from the mean time of a step until now."""
        done, left = self._steps_done, self._num_steps - self._steps_done
        return clock((time.monotonic() - self._start) / done * left) if done > 0 else "?"

    def _grid(self) -> Group:
        patterns = list(dict.fromkeys(spec.pattern.name for spec in self.specs.values()))
        elapsed = clock(time.monotonic() - self._start)
        title = f"{self._stage} · {self._counts()} · {elapsed} · {self._time_left()} left"
        table = Table()
        table.add_column("base model")
        for pattern in patterns:
            table.add_column(Text(pattern), min_width=16)
        cells: dict[str, dict[str, Text]] = {}
        for trial_id, spec in self.specs.items():
            row = cells.setdefault(spec.base_model, {p: Text("") for p in patterns})
            row[spec.pattern.name].append_text(self._mark(trial_id)).append(" ")
        for model, row in cells.items():
            table.add_row(Text(model), *(row[p] if row[p].plain else Text("-") for p in patterns))
        return Group(Text(title, "italic"), table)  # a table cuts its own title to its width

    def _mark(self, trial_id: str) -> Text:
        state = self.states[trial_id]
        if state in MARKS:
            return Text(*MARKS[state])
        loss = self._losses.get(trial_id)
        percent = f"{self._fractions[trial_id]:.0%}"
        return Text(percent if loss is None else f"{percent}/{loss:.2f}", "yellow")


def _label(spec: TrialSpec) -> str:
    draw = f" draw {spec.draw_index}" if spec.draw_index else ""
    return f"{spec.base_model} {spec.pattern.name}{draw} seed {spec.seed}"


def clock(seconds: float) -> str:
    """Format seconds: 42 s, 3:05, 1:02:03."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
