"""Trials in real trackers besides MLflow, read back with their own programs: needs `make exits`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from loopback_servers import answering, find_free_port, served
from repository import ROOT
from tracked_trials import (
    CANARY,
    F1,
    LOSSES,
    check_counts,
    ids,
    save_trials,
    sent,
    track,
)

from xlt.trainables.results.result import Results

pytestmark = [
    pytest.mark.exits,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="make exits installs the trackers"),
    pytest.mark.filterwarnings("ignore"),  # of the packages of trackers
]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return save_trials(tmp_path / "results")


# --- TensorBoard ----------------------------------------------------------------------------------


def test_tensorboard(results: Results, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    again = check_counts(results, f"tensorboard={tmp_path}/logs")
    folders = {file.parent.name: file.parent for file in tmp_path.glob("logs/**/events.*")}
    assert sorted(folders) == ids(results)
    assert [*(tmp_path / "logs").glob(".*")] == []
    assert folders[again] == tmp_path / "logs" / "test" / "elyza-x-ja0" / again
    events = EventAccumulator(str(folders[again]))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [*zip((1, 2, 3), LOSSES, strict=True)]
    assert [event.value for event in events.Scalars("f1")] == [0.5]
    signature = events.Tensors("signature/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| versions.torch | 2.11.0 |" in signature
    names = [file.name for file in tmp_path.glob("logs/**/*")]
    assert not [name for name in names if socket.gethostname() in name.split(".")]


def test_tensorboard_shows_seeds_of_a_cell_as_one_row(results: Results, tmp_path: Path) -> None:
    sent(results, "--to", f"tensorboard={tmp_path}/logs", "--artifacts")
    assert len([*tmp_path.glob("logs/*/*/*/predictions.parquet")]) == len(F1)
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "logs")]
    program += ["--port", str(port), "--host", "127.0.0.1"]
    with served(program, url, tmp_path / "log", os.environ):
        wait_for_scores(url)
        groups = wait_for_groups(url)
    means = {
        name: value["value"]
        for name, group in groups.items()
        for value in group["metricValues"]
        if value["name"]["tag"] == "f1"
    }
    assert means == {"elyza x ja0": 0.5, "elyza x ja16": 0.5}  # 0.25 and 0.75; 0.5 and failed
    statuses = [session["status"] for session in groups["elyza x ja16"]["sessions"]]
    assert sorted(statuses) == ["STATUS_FAILURE", "STATUS_SUCCESS"]
    assert groups["elyza x ja0"]["hparams"]["training.batch_size"] == 16


def wait_for_scores(url: str) -> None:
    """Wait until TensorBoard has read all scores; HParams keeps what it gets before that."""
    from urllib.request import urlopen

    deadline = time.monotonic() + 60
    num_read = 0
    while num_read < len(F1):
        assert time.monotonic() < deadline
        time.sleep(0.5)
        with urlopen(f"{url}/data/plugin/scalars/tags") as answer:
            num_read = sum("f1" in tags for tags in json.load(answer).values())


def wait_for_groups(url: str) -> dict[str, Any]:
    """Rows of the HParams tab, when TensorBoard has read all folders."""
    from urllib.request import Request, urlopen

    asked = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [],
        "startIndex": 0,
        "sliceSize": 100,
    }
    address = f"{url}/data/plugin/hparams/session_groups"
    deadline = time.monotonic() + 60
    while True:
        request = Request(address, json.dumps(asked).encode(), {"Content-Type": "application/json"})
        try:
            with urlopen(request) as answer:
                groups = {group["name"]: group for group in json.load(answer)["sessionGroups"]}
        except OSError:
            groups = {}
        sessions = [session for group in groups.values() for session in group["sessions"]]
        if len(sessions) == 4 and sum(has_f1(session) for session in sessions) == len(F1):
            return groups
        assert time.monotonic() < deadline, groups
        time.sleep(0.5)


def has_f1(values: dict[str, Any]) -> bool:
    return any(value["name"]["tag"] == "f1" for value in values["metricValues"])


# --- Trackio --------------------------------------------------------------------------------------


def test_trackio(results: Results, tmp_path: Path) -> None:
    again = check_counts(results, f"trackio={tmp_path}/trackio")
    program = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = {r.name: r for r in trackio.Api().runs("test")}
logs = {name: SQLiteStorage.get_logs("test", name, run_id=r.id) for name, r in runs.items()}
print(json.dumps({name: [r.id, r.config, logs[name]] for name, r in runs.items()}))
"""
    env = os.environ | {"TRACKIO_DIR": f"{tmp_path}/trackio"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True)
    runs = json.loads(done.stdout)
    assert sorted(runs) == ids(results)
    run_id, config, logs = runs[again]
    assert run_id == again
    assert config["_Group"] == "elyza x ja0"
    assert config["training.batch_size"] == 16
    assert config["versions.torch"] == "2.11.0"
    assert [(row["step"], row["train/loss"]) for row in logs[:3]] == [
        *zip((1, 2, 3), LOSSES, strict=True)
    ]
    assert [row["f1"] for row in logs[3:]] == [0.5]
    assert sorted(config["status"] for _, config, _ in runs.values()) == [
        "failed", *["finished"] * 3,
    ]  # fmt: skip


# --- W&B ------------------------------------------------------------------------------------------


def test_wandb_offline(results: Results, tmp_path: Path) -> None:
    offline = {"WANDB_MODE": "offline"}
    again = check_counts(results, f"wandb={tmp_path}", **offline)
    files = {file.name[4:-6]: file for file in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert sorted(files) == ids(results)
    assert len([*tmp_path.glob("wandb/offline-run-*")]) == 4
    records = read_wandb(files[again])
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.run_id, run.project, run.run_group) == (again, "test", "elyza x ja0")
    assert run.host == ""
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["training.batch_size"] == 16
    assert config["versions.torch"] == "2.11.0"
    history = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in (record.history for record in records if record.HasField("history"))
    ]
    assert [(row["_step"], row["train/loss"]) for row in history] == [
        *zip((1, 2, 3), LOSSES, strict=True)
    ]
    summaries = [
        (item.key or ".".join(item.nested_key), json.loads(item.value_json))
        for record in records
        if record.HasField("summary")
        for item in record.summary.update
    ]
    assert ("f1", 0.5) in summaries
    (exit_code,) = (record.exit.exit_code for record in records if record.HasField("exit"))
    assert exit_code == 0
    environments = [record for record in records if record.HasField("environment")]
    assert not environments  # machine, programs and user


def read_wandb(file: Path) -> list[Any]:
    """Records of an offline run: W&B's protobuf messages in a log of LevelDB's format.

    https://github.com/google/leveldb/blob/main/doc/log_format.md, after a head of seven bytes.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole, records = file.read_bytes(), 7, b"", []
    block = 32 * 1024
    while place < len(content):
        if block - place % block < 7:  # too small for a head
            place += block - place % block
            continue
        size = int.from_bytes(content[place + 4 : place + 6], "little")
        kind = content[place + 6]
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # full, last
            records.append(Record.FromString(whole))
            whole = b""
    return records


@pytest.mark.parametrize("status", [401, None])
def test_wandb_does_not_answer_or_refuses(
    results: Results, tmp_path: Path, status: int | None
) -> None:
    with answering(status) as uri:
        env = {"WANDB_BASE_URL": uri, "WANDB_API_KEY": CANARY, "WANDB_MODE": "online"}
        done = track(results, "--to", f"wandb={tmp_path}", **env)
    assert done.returncode == 2
    what = "refuses the credentials; set WANDB_API_KEY" if status else "does not answer within 10 s"
    assert f"W&B at {uri} {what}" in done.stderr
    assert CANARY not in done.stderr + done.stdout


NEVER_ENDS = """
import os, signal, sys
from wandb.sdk.lib.service.service_connection import ServiceConnection
from xlt.sweep.cli.main import main

teardown = ServiceConnection.teardown

def stop_first(self, exit_code):
    os.kill(self._proc._process.pid, signal.SIGSTOP)
    return teardown(self, exit_code)

ServiceConnection.teardown = stop_first
sys.exit(main(sys.argv[1:]))
"""
"""The command; W&B's process stops when it is asked to end."""


def test_xlt_ends_though_the_process_of_wandb_does_not(results: Results, tmp_path: Path) -> None:
    """W&B's process waits for requests that were given up; it does not cancel all of them."""
    program = [sys.executable, "-c", NEVER_ENDS, "track", results.uri]
    program += ["--to", f"wandb={tmp_path}/runs"]
    with answering(401) as uri:
        env = {"WANDB_BASE_URL": uri, "WANDB_API_KEY": CANARY, "WANDB_MODE": "online"}
        env |= os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            program, env=env, capture_output=True, text=True, timeout=100, check=False
        )
    assert done.returncode == 2
    assert "refuses the credentials" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wandb_without_a_key(results: Results, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "WANDB_MODE": "online", "NETRC": ""}
    done = track(results, "--to", f"wandb={tmp_path}", **env)
    assert done.returncode == 2
    assert "refuses the credentials; set WANDB_API_KEY, or log in with `wandb login`" in done.stderr


# --- a sweep --------------------------------------------------------------------------------------


def test_a_sweep_ends_in_time_while_servers_hang(tmp_path: Path) -> None:
    with answering(None) as uri:
        values = [
            "models=[{name: ngram, method: ngram}]", "patterns=[ja0]", "seeds=[0, 1]",
            f"tracking.to=['mlflow={uri}', 'wandb={tmp_path}', 'tensorboard={tmp_path}/logs']",
        ]  # fmt: skip
        program = [sys.executable, "-m", "xlt", "run", "quickstart", "--backend", "inline"]
        program += ["--results", str(tmp_path / "results")]
        program += [word for value in values for word in ("--set", value)]
        env = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_BASE_URL": uri, "WANDB_API_KEY": CANARY}
        start = time.monotonic()
        done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert "tracking: tensorboard" in done.stderr and "has all 2 trials of this run" in done.stderr
    for name in ("mlflow", "wandb"):
        assert f"tracking: 2 trials are not in {name}=" in done.stderr
    assert seconds < 90, done.stderr
    assert CANARY not in done.stderr + done.stdout
    shutil.rmtree(tmp_path / "results")
