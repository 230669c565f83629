"""Worker processes die during a search: they are retried, and the search says how they died."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from grids import load_grid
from rich.console import Console
from searched import ONE, write_searched

from xlt.sweep.backends.events import Failed
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.search.cells import make_search_cells, select_search_rows
from xlt.sweep.search.run import search_rates
from xlt.sweep.search.searchers import make_searcher

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def searched_file(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_searched(experiment_file, tmp_path_factory.mktemp("searched"))


def test_a_config_whose_process_is_killed_is_tried_again_and_in_the_end_told(
    searched_file: Path,
) -> None:
    from xlt.sweep.search.config_report import ConfigReport
    from xlt.sweep.search.config_trial import FAILED_RANK
    from xlt.sweep.search.on_tune import CellSearch, Listener, _Suggestions

    grid = load_grid(searched_file)
    (cell, *_) = make_search_cells(grid, select_search_rows(grid), grid.experiment.select(ONE))
    reports: list[ConfigReport | None] = []
    searcher = make_searcher(cell.settings, (0.1,), 0.1, cell.name)
    trying = CellSearch(cell.name, cell.templates, cell.dev_kinds, 1, searcher)
    listener = Listener(lambda *asked: None, lambda name, config, last: reports.append(last))
    suggestions = _Suggestions([trying], listener)
    for number in range(3):
        assert suggestions.suggest(f"t{number}")["config"]["learning_rate"] == 0.1
        assert not suggestions.is_over
        suggestions.on_trial_complete(f"t{number}", error=True)  # the error is not known yet
        suggestions.on_death(f"t{number}", 1, "The process receives a SIGTERM. Node IP: 10.0.0.2")
    assert suggestions.is_over and suggestions.suggest("t3") == suggestions.FINISHED
    failure = Failed(
        "RuntimeError: its worker process died 3 times; the last time: it received SIGTERM on "
        "10.0.0.2"
    )
    assert reports == [None, None, ConfigReport(1, FAILED_RANK, failure=failure)]


def test_a_search_says_how_worker_processes_died(
    searched_file: Path, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlt.sweep.search import on_tune

    try_config = on_tune.try_config

    def try_or_die(config: dict[str, Any], shared: dict[str, Any]) -> None:
        import os
        import signal

        match config["config"]["learning_rate"]:
            case 0.02:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            case 0.03:
                os.kill(os.getpid(), signal.SIGKILL)
        try_config(config, shared)

    monkeypatch.setattr(on_tune, "try_config", try_or_die)
    said = io.StringIO()
    settings = ["search.learning_rate=[0.01, 0.02, 0.03]", "search.seeds=[5]"]
    experiment = load_experiment(searched_file, settings)
    console = Console(file=said, width=200)
    found = search_rates(experiment, str(tmp_path / "r"), only=ONE, console=console)
    (choice,) = found.choices
    assert choice.best is not None and choice.best.config.learning_rate == 0.01
    for rate, how in ((0.02, "it received SIGTERM"), (0.03, "it was killed by SIGKILL")):
        (line,) = (s for s in said.getvalue().splitlines() if f"rate {rate}: failed: " in s)
        assert f"its worker process died 3 times; the last time: {how}" in line
    assert "/worker-" in line
