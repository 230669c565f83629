"""Grids of experiment files."""

from __future__ import annotations

from pathlib import Path

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare


def load_grid(source: str | Path, *settings: str) -> Grid:
    """The grid of an experiment's file or name, with ``key=value`` settings."""
    return expand(prepare(load_experiment(source, settings)))
