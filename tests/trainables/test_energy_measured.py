"""Energy of a trial as codecarbon itself estimates it: needs `make exits`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from repository import ROOT

from xlt.trainables.trial.energy import find_energy_problem

pytestmark = [
    pytest.mark.exits,
    pytest.mark.skipif(find_spec("codecarbon") is None, reason="make exits installs codecarbon"),
    pytest.mark.filterwarnings("ignore"),  # of codecarbon
]


def test_trials_are_measured_without_network_files_or_output(
    experiment_file: Path, tmp_path: Path
) -> None:
    home, results = tmp_path / "home", tmp_path / "r"
    home.mkdir()
    offline = (  # every connection of the command would end it
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('network')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "from xlt.sweep.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = [
        "run", str(experiment_file), "--results", str(results), "--backend", "inline",
        "--only", "model=bert,pattern=ja8", "--set", "cost.energy.country=JPN",
        "--set", "training.num_train_epochs=200",  # codecarbon looks at a process for seconds
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", offline, *arguments], cwd=home, env=environment,
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "[codecarbon" not in ended.stdout + ended.stderr  # start of its lines
    assert [path for path in home.rglob("*") if "carbon" in path.name] == []
    records = [json.loads(f.read_text()) for f in results.glob("trials/*/trial.json")]
    assert records
    for record in records:
        kwh, co2_kg = (record["execution"][name] for name in ("energy_kwh", "co2_kg"))
        watts = kwh * 3.6e6 / sum(record["timings"].values())
        assert 1 < watts < 1000
        # Japan's mix in codecarbon 3.3.2 is 485.392 g a kWh (year 2023).
        assert co2_kg / kwh == pytest.approx(0.485392, rel=1e-3)


def test_an_unknown_country_is_one_sentence() -> None:
    assert find_energy_problem("JPN") is None
    assert find_energy_problem("JPX") == (
        "codecarbon has no electricity mix of country 'JPX'",
        "give three letters of ISO 3166, e.g. JPN; similar: JPN",
    )
