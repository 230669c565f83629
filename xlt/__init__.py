"""xlt measures how well language models carry a task from one language to another.

The names below are the public interface; docs/python.md shows them in one example. Everything else
is private and may change. A name is imported when it is first used, so that ``import xlt`` takes
no time and a notebook that reads results needs neither torch nor ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlt.analysis.comparisons.family import compare_cells
    from xlt.analysis.figures.registry import draw_figures
    from xlt.analysis.page.build import render_page
    from xlt.analysis.tables.report import render_tables
    from xlt.analysis.trials.collect import collect
    from xlt.data.core.errors import InputError
    from xlt.sweep.check.registry import check_sweep
    from xlt.sweep.cluster.submit import submit_job
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.explain import explain_trials
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.prepare import prepare
    from xlt.sweep.run import run_sweep
    from xlt.sweep.search.run import search_rates
    from xlt.trainables.inference.tagging import Tagger
    from xlt.trainables.results.attributions import read_attributions
    from xlt.trainables.results.find_trial import find_trial

__all__ = [
    "InputError",
    "Tagger",
    "check_sweep",
    "collect",
    "compare_cells",
    "draw_figures",
    "expand",
    "explain_trials",
    "find_trial",
    "load_experiment",
    "prepare",
    "read_attributions",
    "render_page",
    "render_tables",
    "run_sweep",
    "search_rates",
    "submit_job",
]

_MODULES = {
    "InputError": "xlt.data.core.errors",
    "Tagger": "xlt.trainables.inference.tagging",
    "check_sweep": "xlt.sweep.check.registry",
    "collect": "xlt.analysis.trials.collect",
    "compare_cells": "xlt.analysis.comparisons.family",
    "draw_figures": "xlt.analysis.figures.registry",
    "expand": "xlt.sweep.planning.grid",
    "explain_trials": "xlt.sweep.explain",
    "find_trial": "xlt.trainables.results.find_trial",
    "load_experiment": "xlt.sweep.experiment.experiment",
    "prepare": "xlt.sweep.planning.prepare",
    "read_attributions": "xlt.trainables.results.attributions",
    "render_page": "xlt.analysis.page.build",
    "render_tables": "xlt.analysis.tables.report",
    "run_sweep": "xlt.sweep.run",
    "search_rates": "xlt.sweep.search.run",
    "submit_job": "xlt.sweep.cluster.submit",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
