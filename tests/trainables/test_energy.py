"""Energy of trials: the arithmetic, with a made-up codecarbon."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from result_folders import make_plan, make_results, save_done, trial_files
from result_folders import make_spec as make_any_spec

from xlt.analysis.summary.cost import describe_cost
from xlt.analysis.trials.collect import collect
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.backends.worker import run_and_save, run_and_save_pack
from xlt.sweep.cli.main import main
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial import energy

HOUR = SimpleNamespace(
    duration=3600.0, cpu_energy=0.1, ram_energy=0.02, gpu_energy=0.4, energy_consumed=0.52,
    emissions=0.26,
)  # fmt: skip
"""Totals of a process after an hour, as codecarbon gives them: kWh, and 0.5 kg CO2e a kWh."""


def make_result(seconds: float, device: str, num_workers: int = 1, gpus: float = 1.0) -> Any:
    spec = make_any_spec("elyza", "ja16", 0)
    rows = pa.table({"id": ["a"]})
    return TrialResult(
        spec=spec.model_copy(update={"resources": Resources(gpus=gpus)}), metrics={"f1": 0.5},
        signature={"device": device}, timings={"load": 0.25 * seconds, "fit": 0.75 * seconds},
        convergence={}, predictions=rows, history=rows, train_rows=rows, model={},
        execution={"num_workers": num_workers},
    )  # fmt: skip


class FakeTracker:
    """A tracker of codecarbon that says what an hour used."""

    made: list[FakeTracker]

    def __init__(self, **settings: Any) -> None:
        self.settings, self.calls = settings, list[str]()
        FakeTracker.made.append(self)

    def start(self) -> None:
        self.calls.append("start")

    def flush(self) -> None:
        self.calls.append("flush")
        for handler in self.settings["output_handlers"]:
            handler.out(HOUR, None)

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[FakeTracker]:
    FakeTracker.made = []
    modules = {
        "codecarbon": {"OfflineEmissionsTracker": FakeTracker},
        "codecarbon.output_methods": {},
        "codecarbon.output_methods.base_output": {"BaseOutput": object},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return FakeTracker


@pytest.mark.parametrize(
    ("result", "kwh"),
    [
        (make_result(3600, "cpu:EPYC"), 0.12),  # CPU and RAM; the GPU is not the trial's
        (make_result(3600, "cuda:NVIDIA L4"), 0.52),
        (make_result(3600, "cuda:NVIDIA L4", gpus=0.25), 0.12 + 0.1),
        (make_result(1800, "cuda:NVIDIA L4", num_workers=4), 4 * 0.26),
    ],
)
def test_a_trial_has_the_mean_power_of_its_process_in_its_seconds(
    tracker: type[FakeTracker], result: TrialResult, kwh: float
) -> None:
    with energy.measure_energy("JPN") as add_energy:
        execution = add_energy(result).execution
    assert execution["energy_kwh"] == pytest.approx(kwh, rel=1e-5)
    assert execution["co2_kg"] == pytest.approx(0.5 * kwh, rel=1e-5)
    (made,) = tracker.made
    assert made.calls == ["start", "flush", "stop"]
    assert made.settings["country_iso_code"] == "JPN" and made.settings["output_methods"] == []


def test_members_of_a_pack_share_the_energy_of_their_process(tracker: type[FakeTracker]) -> None:
    members = [make_result(900, "cuda:NVIDIA L4") for _ in range(4)]
    with energy.measure_energy("JPN") as add_energy:
        kwh = [add_energy(member).execution["energy_kwh"] for member in members]
    assert sum(kwh) == pytest.approx(HOUR.energy_consumed, rel=1e-5)


def test_nothing_is_measured_without_a_country(tracker: type[FakeTracker]) -> None:
    result = make_result(1, "cpu")
    with energy.measure_energy("") as add_energy:
        assert add_energy(result) is result
    assert tracker.made == []


def test_the_tracker_ends_with_a_failed_trial(tracker: type[FakeTracker]) -> None:
    with pytest.raises(RuntimeError), energy.measure_energy("JPN"):
        raise RuntimeError("out of memory")
    assert tracker.made[0].calls == ["start", "stop"]


@pytest.mark.parametrize("side_by_side", [False, True])
def test_measured_trials_have_the_results_of_others(
    side_by_side: bool, tracker: type[FakeTracker], make_spec: Callable[..., TrialSpec],
    tiny_dataset: Dataset, tmp_path: Path,
) -> None:  # fmt: skip
    files = []
    for country in ("", "JPN"):
        results = Results(str(tmp_path / f"r{country}"))
        policy = ArtifactPolicy(energy_country=country)
        results.prepare()
        specs = [make_spec("llama", seed=seed) for seed in (0, 1)]
        if side_by_side:
            reports = dict.fromkeys((spec.trial_id for spec in specs), lambda step: None)
            list(run_and_save_pack(specs, tiny_dataset, results, policy, reports))
        else:
            run_and_save(specs[0], tiny_dataset, results, policy, lambda step: None)
        files.append(trial_files(results))
    plain, measured = files
    for name, content in measured.items():
        if name.endswith("trial.json"):
            record = json.loads(content)
            assert record["execution"].pop("energy_kwh") > record["execution"].pop("co2_kg") > 0
            measured[name] = json.dumps(record).encode()
    assert plain == measured
    assert [made.calls[-1] for made in tracker.made] == ["stop"]


def test_reports_sum_the_energy_of_the_trials_that_measured_it(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan())
    measured = {"energy_kwh": 1.25, "co2_kg": 0.5}
    for seed, execution in enumerate(({}, measured, measured)):
        save_done(results, "elyza", "ja16", seed, {"f1": 0.5}, execution=execution)
    assert describe_cost(collect(str(results.root))) == [
        "Energy of 2 of 3 done trials, estimated by codecarbon: 2.50 kWh, 1.00 kg CO2e."
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_package_is_refused_before_a_run(
    command: str, experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(energy, "find_spec", lambda name: None)
    location = tmp_path / "r"
    arguments = [str(experiment_file), "--results", str(location), "--backend", "inline"]
    status = main([command, *arguments, "--set", "cost.energy.country=JPN"])
    shown = "".join(capsys.readouterr())
    assert status == {"check": 3, "run": 2}[command]
    assert "cost.energy: needs the package codecarbon, which is not installed" in shown
    assert "pip install 'xlt-sweep[energy]'" in shown
    assert not list(location.glob("trials/*"))
