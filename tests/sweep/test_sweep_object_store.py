"""Whole sweeps into S3 and gs: as on a disk, resumed, searched, read by every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from gs_server import serve_gs
from result_folders import trial_files
from s3_server import S3, SECRET, serve_s3_to_processes

from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep

pytestmark = [pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """Before any cluster, whose processes take the credentials from this one's environment."""
    with pytest.MonkeyPatch.context() as patch, serve_s3_to_processes() as served:
        patch.setattr("xlt.sweep.driver.lease.SETTLE_SECONDS", 0.1)
        yield served


@pytest.fixture(params=["s3", "gs"])
def uri(s3: S3, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty folder in an object store."""
    if request.param == "s3":
        yield s3.bucket()
        return
    with serve_gs() as place:
        yield place


@pytest.fixture(scope="module")
def small_file(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = yaml.safe_load(experiment_file.read_text())
    values |= {"models": values["models"][1:], "seeds": [0]}
    values["search"] = {"learning_rate": [3e-3, 3e-2], "dev_rows": 8, "num_folds": 2}
    file = tmp_path_factory.mktemp("small") / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_sweep_into_a_bucket_has_the_bytes_of_one_into_a_folder_and_is_resumed(
    uri: str, small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment(small_file)
    local = run_sweep(experiment, str(tmp_path / "r"), backend="inline")
    first = experiment.model_copy(update={"patterns": experiment.patterns[1:]})
    assert run_sweep(first, uri, backend="inline").num_run == 2
    assert main(["run", str(small_file), "--results", uri, "--backend", "inline"]) == 0
    capsys.readouterr()
    remote = run_sweep(experiment, uri, backend="inline")
    assert remote.num_run == 0 and len(remote.ledger.done) == 3
    assert trial_files(remote.results) == trial_files(local.results)
    assert main(["status", uri]) == 0
    assert "3 done of 3 trials" in capsys.readouterr().out
    for place in (uri, local.results.uri):
        assert main(["report", place, "--format", "csv"]) == 0
    told = capsys.readouterr().out
    assert told[: len(told) // 2] == told[len(told) // 2 :] and "gpt_neox,ja8,auroc" in told
    page = tmp_path / "report.html"
    assert main(["report", uri, "--format", "html", "--out", str(page)]) == 0
    everything = [remote.results.read(name) for name in remote.results.sizes()]
    assert len(everything) > 12
    assert not any(SECRET.encode() in content for content in [*everything, page.read_bytes()])


def test_access_that_is_taken_away_costs_no_finished_trial(
    s3: S3, small_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs: what was finished stays, and the rest runs later."""
    uri = s3.bucket()
    records: list[str] = []

    def deny(method: str, key: str) -> tuple[int, str] | None:
        if method == "PUT" and key.endswith("trial.json"):
            records.append(key)
        return (403, "AccessDenied") if method == "PUT" and len(records) > 1 else None

    arguments = ["run", str(small_file), "--results", uri, "--backend", "inline"]
    monkeypatch.setattr(s3, "fault", deny)
    assert main(arguments) == 2
    assert "cannot be written any more: " in capsys.readouterr().err
    monkeypatch.undo()
    outcome = run_sweep(load_experiment(small_file), uri, backend="inline")
    assert outcome.num_run == 2 and len(outcome.ledger.done) == 3


@pytest.mark.ray
@pytest.mark.chaos
def test_a_cluster_writes_into_s3_and_searches_there(
    s3: S3, small_file: Path, tmp_path: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, uri = load_experiment(small_file), s3.bucket()
    tuned = run_sweep(experiment, uri)
    local = run_sweep(experiment, str(tmp_path / "r"), backend="inline")
    assert trial_files(tuned.results) == trial_files(local.results)
    rates = str(tmp_path / "rates.yaml")
    command = ["search", str(small_file), "--results", uri, "--out", rates]
    assert main([*command, "--only", "model=bert,pattern=ja8"]) == 0
    assert len(yaml.safe_load(Path(rates).read_text())["cells"]) == 1
    capsys.readouterr()
    assert main([*command, "--only", "model=bert,pattern=ja8"]) == 0
    assert "nothing ran" in capsys.readouterr().err
    plan = json.loads(tuned.results.read("searches", "tiny.plan.json"))
    assert plan["cells"][0]["configs"]
    assert main(["status", uri]) == 0
    assert "3 done of 3 trials" in capsys.readouterr().out
