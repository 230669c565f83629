"""What a person sees while a sweep runs: a live grid on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xlt.data.core.text import first_line
from xlt.trainables.spec.trial_spec import TrialSpec

MARKS = {"pending": ("·", "dim"), "done": ("✓", "green"), "failed": ("✗", "bold red")}
"""State of a trial -> (sign, style) in the live grid."""


class Progress:
    """Told by a backend what happens; shows it.

    Args:
        specs: Every trial of the experiment, cell by cell.
        done: Ids of the trials that need not run.
        console: Where to write; a live grid if it is a terminal, else one line an event.
    """

    def __init__(self, specs: Iterable[TrialSpec], done: Iterable[str], console: Console) -> None:
        self.specs = {spec.trial_id: spec for spec in specs}
        self.states = dict.fromkeys(self.specs, "pending") | dict.fromkeys(done, "done")
        self.console = console
        self._fractions: dict[str, float] = {}
        self._losses: dict[str, float] = {}
        self._starts: dict[str, float] = {}
        self._stage = "starting"
        self._start = time.monotonic()
        # Kept up to date trial by trial: each line tells of all, and there may be ten thousand.
        self._steps = {i: s.num_steps for i, s in self.specs.items() if self.states[i] == "pending"}
        self._num_steps, self._steps_over = sum(self._steps.values()), 0.0
        self._ended: set[str] = set()
        self._live = (
            Live(console=console, get_renderable=self._grid, refresh_per_second=4)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Draw the last state and stop."""
        if self._live:
            self._live.stop()

    # --- told by a backend ------------------------------------------------------------------

    def stage(self, text: str) -> None:
        """A new stage began, e.g. the pre-training of miniatures."""
        self._stage = text
        self._start = time.monotonic()
        self._say(text)

    def pretrained(self, name: str) -> None:
        """A miniature is ready."""
        self._say(f"  {name} pre-trained after {clock(time.monotonic() - self._start)}")

    def started(self, spec: TrialSpec) -> None:
        """A trial began, or began again."""
        self._starts[spec.trial_id] = time.monotonic()
        self._losses.pop(spec.trial_id, None)
        self._set(spec, "running", 0.0)

    def stepped(self, spec: TrialSpec, step: int, num_steps: int, loss: float) -> None:
        """A trial went on."""
        self._losses[spec.trial_id] = loss
        self._set(spec, "running", step / num_steps)

    def finished(self, spec: TrialSpec, outcome: Mapping[str, Any]) -> None:
        """A trial ended: ``metrics``, or the ``error`` that ended it."""
        took = time.monotonic() - self._starts.get(spec.trial_id, self._start)
        self._set(spec, "failed" if "error" in outcome else "done", 1.0)
        if "error" in outcome:
            told = f"FAILED: {first_line(str(outcome['error']))}"
        else:
            told = " ".join(f"{n} {v:.3f}" for n, v in list(outcome["metrics"].items())[:2])
        where = _where(spec)
        self._say(f"[{self._of_all()}] {where}: {told} ({took:.1f} s; {self._eta()} left)")

    def died(self, spec: TrialSpec) -> None:
        """A trial's process was killed; it starts again."""
        self._set(spec, "pending", 0.0)
        self._losses.pop(spec.trial_id, None)
        self._say(f"  {_where(spec)}: its process ended; it starts again")

    def left(self, spec: TrialSpec, step: int) -> None:
        """A trial had to leave its machine after a checkpoint."""
        self._set(spec, "pending", 0.0)
        self._losses.pop(spec.trial_id, None)
        self._say(f"  {_where(spec)}: left its machine at step {step}, with a checkpoint")

    # --- shown ------------------------------------------------------------------------------

    def _set(self, spec: TrialSpec, state: str, fraction: float) -> None:
        trial_id = spec.trial_id
        self.states[trial_id] = state
        change = fraction - self._fractions.get(trial_id, 0.0)
        self._fractions[trial_id] = fraction
        self._steps_over += change * self._steps.get(trial_id, 0)
        if state in ("done", "failed"):
            self._ended.add(trial_id)
        else:
            self._ended.discard(trial_id)

    def _of_all(self) -> str:
        """Trials that ended, and those that were to run."""
        return f"{len(self._ended)}/{len(self._steps)}"

    def _say(self, line: str) -> None:
        if not self._live:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        elif "FAILED" in line:
            self._live.console.print(line, highlight=False, markup=False, style="red")

    def _eta(self) -> str:
        """Time left, if steps go on as fast as until now."""
        over, left = self._steps_over, self._num_steps - self._steps_over
        return clock((time.monotonic() - self._start) / over * left) if over > 0 else "?"

    def _grid(self) -> Group:
        patterns = list(dict.fromkeys(spec.pattern.name for spec in self.specs.values()))
        elapsed = clock(time.monotonic() - self._start)
        title = f"{self._stage} · {self._of_all()} · {elapsed} · {self._eta()} left"
        table = Table()
        table.add_column("base model")
        for pattern in patterns:
            table.add_column(pattern, min_width=16)
        cells: dict[str, dict[str, Text]] = {}
        for trial_id, spec in self.specs.items():
            row = cells.setdefault(spec.base_model, {p: Text("") for p in patterns})
            row[spec.pattern.name].append_text(self._mark(trial_id)).append(" ")
        for model, row in cells.items():
            table.add_row(model, *(row[p] if row[p].plain else Text("-") for p in patterns))
        return Group(Text(title, "italic"), table)  # a title of the table would be cut to its width

    def _mark(self, trial_id: str) -> Text:
        state = self.states[trial_id]
        if state in MARKS:
            return Text(*MARKS[state])
        loss = self._losses.get(trial_id)
        percent = f"{self._fractions[trial_id]:.0%}"
        return Text(percent if loss is None else f"{percent}/{loss:.2f}", "yellow")


def _where(spec: TrialSpec) -> str:
    drawn = f" draw {spec.draw_index}" if spec.draw_index else ""
    return f"{spec.base_model} {spec.pattern.name}{drawn} seed {spec.seed}"


def clock(seconds: float) -> str:
    """Seconds as people read them: 42 s, 3:05, 1:02:03."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
