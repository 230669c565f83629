"""An experiment is prepared once: its data are read once, and each set of rows is drawn once."""

from __future__ import annotations

from pathlib import Path

import pytest
from counted_reads import Counted

from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_expand_reads_and_draws_nothing(counted: Counted) -> None:
    prepared = prepare(load_experiment("quickstart"))
    first, second = expand(prepared), expand(prepared)
    assert first == second
    counted.expect_once(num_draws=15)  # five sets of rows on three draws


def test_the_counter_sees_a_second_read(counted: Counted) -> None:
    experiment = load_experiment("quickstart", ["patterns=[ja16]", "models=[mini-mbert]"])
    prepare(experiment)
    prepare(experiment)
    assert (counted.reads.total(), counted.draws.total()) == (2, 6)
    with pytest.raises(AssertionError):
        counted.expect_once(num_draws=3)


def test_a_run_reads_its_data_once(counted: Counted, experiment_file: Path, tmp_path: Path) -> None:
    arguments = [str(experiment_file), "--results", str(tmp_path), "--only"]
    arguments += ["model=bert,pattern=ja8"]
    assert main(["run", *arguments, "--backend", "inline"]) == 0
    counted.expect_once(num_draws=3)
    assert main(["plan", *arguments]) == 0
    counted.expect_once(num_draws=3)
