"""Results in S3 over its protocol: the bytes of a disk, few requests, faults that pass."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from clock import Clock
from result_folders import make_plan, make_results, make_spec, save_done, save_failed, trial_files
from s3_server import ENVIRONMENT, S3, fails, serve_s3_to_processes

from xlt.data.core import locations
from xlt.data.core import retry as patience
from xlt.data.core.errors import InputError
from xlt.data.core.files import Files
from xlt.sweep.backends.events import Failed, Unwritable
from xlt.sweep.backends.worker import record_failure
from xlt.trainables.results import verified as cache
from xlt.trainables.results.result import Results
from xlt.trainables.results.verified import read_verified_states

SCORES = {"f1": 0.5, "auroc": 0.75}


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serve_s3_to_processes() as served:
        yield served


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    yield server
    server.fault = S3.fault


def test_a_folder_has_the_bytes_of_a_disk_and_its_record_comes_last(s3: S3, tmp_path: Path) -> None:
    plan = make_plan(seeds=(0, 1))
    local, remote = make_results(tmp_path, plan), make_results(s3.bucket(), plan)
    s3.asked.clear()
    for results in (local, remote):
        save_done(results, "elyza", "ja16", 0, SCORES)
    put = [key.rpartition("/")[2] for method, key in s3.asked if method == "PUT"]
    assert put[-1] == "trial.json" and len(put) == 4
    save_failed(remote, "elyza", "ja16", 1, "lost")
    save_failed(local, "elyza", "ja16", 1, "lost")
    assert trial_files(remote) == trial_files(local)
    assert len(trial_files(remote)) == 5
    assert remote.experiments() == ["test"] and remote.read_plan("test") == plan
    assert remote.trial_ids() == local.trial_ids()
    assert list(remote.states(local.trial_ids()).values()) == [
        local.state(trial_id) for trial_id in local.trial_ids()
    ]


def test_a_damaged_folder_is_told_and_set_aside(s3: S3) -> None:
    results = make_results(s3.bucket(), make_plan())
    trial_id = save_done(results, "elyza", "ja16", 0, SCORES)
    results.write(f"trials/{trial_id}/history.parquet", b"short")
    assert results.state(trial_id).state == "corrupt"
    assert results.read(results.set_aside(trial_id), "history.parquet") == b"short"
    assert results.state(trial_id).state == "absent"


def test_an_error_in_the_middle_of_a_file_sends_none_of_it(s3: S3) -> None:
    files = Files(s3.bucket())
    files.write("file", b"old")
    with pytest.raises(KeyboardInterrupt), files.writing("file") as stream:
        stream.write(b"part")
        raise KeyboardInterrupt
    assert files.read("file") == b"old"
    for content in (b"new" * 4_000_000, b""):  # in parts, and nothing at all
        with files.writing("file") as stream:
            stream.write(content)
        assert files.read("file") == content


def test_many_folders_are_listed_together_and_those_verified_before_not_read(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "SETTLED_SECONDS", -60.0)
    results = make_results(s3.bucket(), make_plan(seeds=range(20)))
    ids = [save_done(results, "elyza", "ja16", seed, SCORES) for seed in range(19)]
    ids.append(make_spec("elyza", "ja16", 19).trial_id)
    s3.asked.clear()
    states = results.states(ids)
    # A file is a HEAD, which tells its size, and a GET.
    assert Counter(method for method, _ in s3.asked) == {"LIST": 1, "HEAD": 76, "GET": 76}
    assert [states[trial_id].state for trial_id in ids] == [*["done"] * 19, "absent"]
    assert read_verified_states(results, "test", ids) == states
    s3.asked.clear()
    assert read_verified_states(results, "test", ids) == states
    assert Counter(method for method, _ in s3.asked) == {"LIST": 2}


@pytest.mark.parametrize("status", [500, 503, 0])
def test_requests_that_fail_for_a_moment_are_made_again(status: int, s3: S3) -> None:
    results = make_results(s3.bucket(), make_plan())
    code = "SlowDown" if status == 503 else "InternalError"
    s3.fault = fails(2 if status else 1, status, code)
    trial_id = save_done(results, "elyza", "ja16", 0, SCORES)
    s3.fault = fails(2 if status else 1, status, code)
    assert results.state(trial_id).state == "done"


@pytest.mark.parametrize("seconds", [60, 10_000])
def test_an_outage_costs_no_finished_trial_unless_it_lasts(
    seconds: int, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(locations, "NUM_ATTEMPTS", 1)  # the SDK's own attempts take real time
    results = make_results(s3.bucket(), make_plan())
    s3.fault = lambda *_: (500, "InternalError") if clock.now < seconds else None
    outcome = record_failure(make_spec("elyza", "ja16", 0), results, ValueError("lost"))
    if seconds == 60:
        assert outcome == Failed("lost") and 60 <= clock.now < 120
        assert results.state(make_spec("elyza", "ja16", 0).trial_id).state == "failed"
    else:
        assert isinstance(outcome, Unwritable) and "HTTP status 500" in outcome.error
        assert clock.now == patience.PATIENCE_SECONDS


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "InvalidAccessKeyId"])
def test_what_only_a_person_can_mend_is_told_at_once(code: str, s3: S3) -> None:
    uri = s3.bucket()
    s3.fault = lambda *_: (403 if code != "NoSuchBucket" else 404, code)
    began = time.monotonic()
    with pytest.raises(InputError, match="cannot be written: ") as caught:
        make_results(uri)
    assert time.monotonic() - began < 5
    assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_a_bucket_that_is_not_there_is_told(s3: S3) -> None:
    uri = s3.bucket().replace("s3://bucket", "s3://other")
    with pytest.raises(InputError, match=r"cannot be written: .*NO_SUCH_BUCKET"):
        Results(uri).prepare()
