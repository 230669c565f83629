"""Cost of done trials: hours by hardware, money, and prices that are given later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_folders import make_plan, make_results, make_spec, save_done, save_failed

from xlt.analysis.page import render_page
from xlt.analysis.summary.cost import count_hours, describe_cost, with_prices, write_cost
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.trainables.spec.cost import Cost, name_gpu_type
from xlt.trainables.spec.resources import Resources

H100 = "cuda:NVIDIA H100 80GB HBM3"


def make_record(device: str, timings: Any, num_workers: int | None, **resources: Any) -> Any:
    execution = {} if num_workers is None else {"num_workers": num_workers}
    return {
        "spec": {"resources": Resources.parse(resources).model_dump()},
        "signature": {"device": device},
        "timings": timings,
        "execution": execution,
    }


def test_a_trial_uses_its_share_of_a_gpu_in_each_process() -> None:
    quarter = make_record(H100, {"load": 600.0, "fit": 3000.0}, 1, gpus=0.25)  # 1 h x 0.25
    two = make_record("cuda:NVIDIA A100-SXM4-80GB", {"fit": 1800.0}, 2, workers=2)  # 0.5 h x 2
    cores = make_record("cpu:AMD EPYC, AVX2", {"fit": 7200.0}, 1, cpus=4)  # 2 h x 4
    hours = count_hours([quarter, quarter, two, cores])
    assert hours == pytest.approx({"H100": 0.5, "A100": 1.0, "CPU": 8.0})


def test_members_of_a_pack_share_the_time_of_their_process() -> None:
    # Four members train an hour side by side: each records a quarter of the shared passes.
    members = [make_record(H100, {"fit": 900.0}, 1, gpus=0.5) for _ in range(4)]
    assert count_hours(members) == pytest.approx({"H100": 0.5})


def test_a_gpu_that_was_not_reserved_was_used_alone() -> None:
    assert count_hours([make_record(H100, {"fit": 3600.0}, 1, gpus=0)]) == {"H100": 1.0}


def test_early_records_without_execution_or_timings_are_read() -> None:
    early = make_record(H100, {"fit": 1800.0}, None, workers=2)
    assert count_hours([early, make_record(H100, None, 1)]) == {"H100": 1.0}
    del early["execution"]
    assert count_hours([early]) == {"H100": 1.0}


def test_money_is_hours_times_prices_and_names_what_has_no_price() -> None:
    hours = {"H100": 2.0, "A100": 1.5, "CPU": 10.0, "T4": 0.25}
    cost = Cost.parse({"currency": "USD", "per_gpu_hour": {"H100": 2.49, "A100": 2}})
    assert write_cost(hours, cost) == (
        "1.50 A100 hours x 2 + 2.00 H100 hours x 2.49 = 7.98 USD; not included, because no price "
        "is known: 10.00 CPU hours, 0.25 T4 hours; there are prices of A100, H100"
    )
    assert write_cost({"CPU": 10.0}, Cost(per_cpu_hour=0.04)) == "10.00 CPU hours x 0.04 = 0.4"


@pytest.mark.parametrize(
    "name",
    ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-16GB", "NVIDIA L40S",
     "NVIDIA RTX A6000", "NVIDIA GeForce RTX 4090", "NVIDIA GH200 480GB", "Quadro P4000"],
)  # fmt: skip
def test_types_of_gpus_have_the_names_that_ray_gives_them(name: str) -> None:
    nvidia_gpu = pytest.importorskip("ray._private.accelerators.nvidia_gpu")
    rays = nvidia_gpu.NvidiaGPUAcceleratorManager._gpu_name_to_accelerator_type(name)
    assert name_gpu_type(name) == rays


@pytest.fixture
def location(tmp_path: Path) -> str:
    """Two done trials of 1.5 s on an H100, one failed; the plan has no prices."""
    results = make_results(tmp_path / "results", make_plan())
    for seed in (0, 1):
        save_done(results, "elyza", "ja16", seed, {"f1": 0.5, "auroc": 0.75}, device=H100)
    save_failed(results, "elyza", "ja16", 2, "out of memory")
    return str(results.root)


def test_results_without_prices_show_no_cost(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "report"):
        assert main([command, location]) == 0
        assert "Cost" not in capsys.readouterr().out
    assert "<dt>cost</dt>" not in render_page(collect(location))


@pytest.mark.parametrize("command", ["status", "report"])
def test_prices_can_be_given_after_the_run(
    command: str, location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, location, "--price", "H100=2400", "--price", "CPU=1"]) == 0
    # 2 x 1.5 s / 3600 s x 2400 = 2
    expected = "Cost of 2 done trials: 0.000833 H100 hours x 2400 = 2.00. Killed"
    assert expected in capsys.readouterr().out


def test_prices_of_the_plan_are_shown_and_can_be_replaced(tmp_path: Path, location: str) -> None:
    cost = Cost.parse({"currency": "JPY", "per_gpu_hour": {"H100": 1200}})
    make_results(location, make_plan(cost=cost))
    collected = collect(location)
    assert "= 1.00 JPY." in describe_cost(collected)[0]
    assert "= 2.00 JPY." in describe_cost(with_prices(collected, ["H100=2400"]))[0]
    page = tmp_path / "page.html"
    command = ["report", location, "--format", "html", "--out", str(page), "--price", "H100=3600"]
    assert main(command) == 0
    assert "= 3.00 JPY. Killed" in page.read_text()


def test_a_plan_without_prices_is_written_as_before(tmp_path: Path, location: str) -> None:
    assert "cost" not in json.loads(Path(location, "experiments", "test.plan.json").read_text())
    assert make_spec("elyza", "ja16", 0).trial_id == make_plan().trial_ids[0]


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (["H10=2"], "--price: unknown type of GPU 'H10'. Did you mean 'H100'? Known: CPU, H100."),
        (["H100=-1"], "'H100=-1' is no price"),
        (["H100=inf"], "'H100=inf' is no price"),
        (["H100=two"], "'H100=two' is no price"),
        (["=2"], "'=2' is no price: give a type of GPU, or CPU, and an amount of 0 or more"),
    ],
)
def test_bad_prices_are_refused(
    prices: list[str], message: str, location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", location, "--price", *prices]) == 2
    assert message in capsys.readouterr().err


def test_tables_for_programs_have_no_cost(
    location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", location, "--format", "csv", "--price", "H100=2"]) == 2
    assert "--price is for text, md, html; csv has no cost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per_gpu_hour": {"H100": -1.0}}, "per_gpu_hour.H100: "),
        ({"per_gpu_hour": {"H100": float("inf")}}, "per_gpu_hour.H100: "),
        ({"per_cpu_hour": float("inf")}, "per_cpu_hour: should be a finite number (got inf)"),
        ({"per_cpu_hour": -0.5}, "per_cpu_hour: "),
        ({"currency": "dollars"}, "currency: is no code of a currency: three capital letters"),
    ],
)
def test_bad_prices_in_an_experiment_are_one_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Cost.parse(values)
    assert str(error.value).startswith(message) and len(error.value.problems) == 1
