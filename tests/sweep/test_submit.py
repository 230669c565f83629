"""xlt submit and xlt job with a scripted job server."""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import signal
import socket
import tomllib
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray_jobs import served
from repository import ROOT

from xlt.sweep.cli.main import main
from xlt.sweep.cluster import job_client
from xlt.sweep.experiment.experiment import Experiment, load_experiment

SHARED = ["--results", "s3://bucket/xlt"]

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated")  # Ray 2.60's client


class Scripted:
    """A job server that records requests, and whose jobs follow a script."""

    def __init__(self) -> None:
        self.version = ray.__version__
        self.packages: dict[str, bytes] = {}
        self.asked: list[dict[str, Any]] = []
        self.text = ["one\n", "two\n", "three\n"]
        self.end: dict[str, Any] = {"status": "SUCCEEDED", "driver_exit_code": 0}
        self.breaks_after = [10**9]
        self.stopped: list[str] = []

    async def has(self, uri: str) -> bool:
        return uri in self.packages

    async def put(self, uri: str, package: bytes) -> None:
        self.packages[uri] = package

    async def submit(self, asked: dict[str, Any]) -> str:
        self.asked.append(asked)
        return str(asked["submission_id"])

    async def jobs(self) -> dict[str, dict[str, Any]]:
        names = [*(asked["submission_id"] for asked in self.asked), "xlt-old-1"]
        return {
            name: {"type": "SUBMISSION", "entrypoint": "", "submission_id": name} | self.end
            for name in names
        }

    async def log(self, job_id: str) -> AsyncIterator[str]:
        breaks = self.breaks_after.pop(0) if len(self.breaks_after) > 1 else self.breaks_after[0]
        for number, text in enumerate(self.text):
            if number == breaks:
                raise ConnectionResetError
            yield text
            await asyncio.sleep(0)

    async def stop(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        return True


@pytest.fixture
def jobs() -> Scripted:
    return Scripted()


@pytest.fixture
def url(jobs: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(job_client, "RETRY_SECONDS", 0.05)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    # Neither a token of the user's nor an address of the environment's may matter.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with served(jobs) as url:
        yield url


def members(package: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}


def test_a_job_carries_the_code_and_the_experiment_only(
    jobs: Scripted, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_send_me")
    asked_for = ["--set", "seeds=[7]", "--only", "model=mini-mbert", "--wait", "--detach"]
    assert main(["submit", "quickstart", "--address", url, *SHARED, *asked_for]) == 0
    (asked,) = jobs.asked
    assert asked["submission_id"].startswith("xlt-quickstart-")
    assert shlex.split(asked["entrypoint"]) == [
        "exec", "python", "-m", "xlt", "run", "experiment.yaml", "--results", "s3://bucket/xlt",
        "--address", "auto", "--only", "model=mini-mbert", "--wait",
    ]  # fmt: skip
    environment = asked["runtime_env"]
    assert set(environment["env_vars"]) == {"RAY_JOB_STOP_SIGNAL", "RAY_JOB_STOP_WAIT_TIME_S"}
    experiment = members(jobs.packages[environment["working_dir"]])
    text = experiment.pop("experiment.yaml").decode()
    assert Experiment.from_yaml(text, "sent") == load_experiment("quickstart", ["seeds=[7]"])
    assert {name.partition("-")[0] for name in experiment} <= {"xlt_sweep"}  # its version
    sent = [members(jobs.packages[uri]) for uri in environment["py_modules"]]
    names = {name for package in sent for name in package}
    for package in ("sweep", "analysis", "trainables", "data"):
        files = {
            f"xlt/{package}/{path.relative_to(ROOT / package)}"
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files and files == {n for n in names if n.startswith(f"xlt/{package}/")}
    assert b"hf_do_not_send_me" not in b"".join(jobs.packages.values()) + str(asked).encode()
    assert f"xlt job {asked['submission_id']} --address {url}" in capsys.readouterr().out


def test_a_job_with_installed_code_carries_no_code(jobs: Scripted, url: str) -> None:
    arguments = ["submit", "quickstart", "--address", url, *SHARED, "--installed", "--detach"]
    assert main(arguments) == 0
    (package,) = jobs.packages.values()
    assert list(members(package)) == ["experiment.yaml"]
    assert "py_modules" not in jobs.asked[0]["runtime_env"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, 0),
        ({"status": "FAILED", "driver_exit_code": 1}, 1),
        ({"status": "FAILED", "driver_exit_code": 2}, 2),
        ({"status": "FAILED", "driver_exit_code": 137}, 1),
        ({"status": "FAILED", "message": "runtime_env setup failed: no disk"}, 2),
        ({"status": "STOPPED"}, 130),
    ],
)
def test_a_job_is_followed_to_its_end(
    end: dict[str, Any], status: int, jobs: Scripted, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.end = end
    assert main(["submit", "quickstart", "--address", url, *SHARED]) == status
    captured = capsys.readouterr()
    assert captured.out.endswith("one\ntwo\nthree\n")
    assert ("no disk" in captured.err) is ("message" in end)


def test_a_broken_connection_neither_repeats_nor_loses_a_line(
    jobs: Scripted, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.breaks_after = [0, 2, 1, 10**9]
    assert main(["job", "xlt-old-1", "--address", url]) == 0
    assert jobs.breaks_after == [10**9]
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_following_a_job_ends_when_the_server_is_lost(
    jobs: Scripted, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_client, "LOST_SECONDS", 0.2)
    jobs.breaks_after = [0]
    assert main(["job", "xlt-old-1", "--address", url]) == 2
    assert "does not answer any more" in capsys.readouterr().err


def test_ctrl_c_keeps_the_job_and_names_the_command_to_follow_it(
    jobs: Scripted, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(job_id: str) -> AsyncIterator[str]:
        yield "one\n"
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    monkeypatch.setattr(jobs, "log", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        assert main(["job", "xlt-old-1", "--address", url]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    captured = capsys.readouterr()
    assert f"Follow it: xlt job xlt-old-1 --address {url}\n" in captured.err
    assert jobs.stopped == []


def test_a_job_is_stopped_and_followed(jobs: Scripted, url: str) -> None:
    jobs.end = {"status": "STOPPED"}
    assert main(["job", "xlt-old-1", "--address", url, "--stop"]) == 130
    assert jobs.stopped == ["xlt-old-1"]


def test_an_unknown_job_is_refused_with_the_known_jobs(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "xlt-odl-1", "--address", url, "--stop"]) == 2
    assert "has no job 'xlt-odl-1'; it has xlt-old-1" in capsys.readouterr().err


def test_paths_of_this_machine_are_refused_before_a_job_is_sent(
    jobs: Scripted,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "models" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    values = {
        "name": "local",
        "data": {
            "source": "table", "path": ["rows.csv", "s3://bucket/rows.csv"], "positive": ["1"],
            "corrections": {"path": "by hand.csv"},
        },
        "pretraining": {"corpus": "parallel", "path": "/shared/pairs.tsv"},
        "models": ["models/own", "org/hub-model", "mini-mbert", {"path": "~/other"}],
        "patterns": ["ja0"],
        "seeds": [0],
    }  # fmt: skip
    Path("local.yaml").write_text(yaml.safe_dump(values))
    assert main(["submit", "local.yaml", "--address", url]) == 2
    error = capsys.readouterr().err
    for bad in (
        "results location 'results' would lie on one node's own disk; give --results s3://",
        "data.path: 'rows.csv' is a path of this machine; give a URI",
        "data.corrections.path: 'by hand.csv'",
        "models.own.path: 'models/own'",
        "models.other.path: '~/other'",
    ):
        assert bad in error
    for good in ("bucket/rows", "pairs", "hub-model", "mini-mbert"):
        assert good not in error
    hub = {"source": "hub", "preset": "xnli", "languages": ["en"], "dataset": "./nli"}
    Path("hub.yaml").write_text(yaml.safe_dump(values | {"data": hub}))
    assert main(["submit", "hub.yaml", "--address", url]) == 2
    assert "  - data.dataset: './nli' is a path of this machine" in capsys.readouterr().err
    assert main(["submit", "quickstart", "--address", url, "--results", "s3://u:p@b/x"]) == 2
    assert "u:p" not in capsys.readouterr().err
    assert main(["submit", "quickstart", "--address", url, *SHARED, "--only", "model=x"]) == 2
    assert main(["submit", "quickstart", "--address", url, *SHARED, "--set", "seeds=x"]) == 2
    assert not jobs.asked and not jobs.packages


def test_an_address_without_a_job_server_is_refused(
    jobs: Scripted, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(address: str) -> str:
        assert main(["submit", "quickstart", "--address", address, *SHARED]) == 2
        err = capsys.readouterr().err
        assert err.startswith("xlt: ") and "Traceback" not in err
        return err

    assert "give http://HOST:8265" in refuse("auto")
    assert "give http://HOST:8265" in refuse("10.0.0.1:6379")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nothing listens
        port = silent.getsockname()[1]
        assert f"no job server at http://127.0.0.1:{port}" in refuse(f"http://127.0.0.1:{port}")
    assert "is not a job server of Ray" in refuse(f"{url}/elsewhere")
    jobs.version = "2.59.1"
    assert "runs Ray 2.59.1, but xlt needs 2.60 or newer" in refuse(url)
    monkeypatch.setattr(job_client.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'xlt-sweep[submit]'" in refuse(url)
    assert not jobs.asked


def test_the_oldest_ray_is_that_of_pyproject() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (needed,) = [line for line in packages if line.startswith("ray[")]
    assert needed.partition(">=")[2] == ".".join(map(str, job_client.OLDEST_RAY))
