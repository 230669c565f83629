"""`xlt clean` lists files that no command reads again, and removes only these, with --yes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from page_results import make_page_results
from run_command import run_command
from s3_server import ENVIRONMENT, serve_s3

from xlt.data.core.files import Files
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.driver import leftovers
from xlt.sweep.driver.lease import find_process_start, identify_machine
from xlt.sweep.driver.leftovers import list_leftovers
from xlt.trainables.results.result import Results


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A done trial and an unfinished one with checkpoints, a damaged one, an interrupted write."""
    root = tmp_path / "r"
    results = Results(make_page_results(root, ["elyza"], ["ja0"], [0, 1, 2], num_items=20))
    done, unfinished, damaged = results.trial_ids()
    (root / "trials" / unfinished / "trial.json").unlink()
    for trial_id in (done, unfinished):
        results.save_checkpoint(trial_id, b"x" * 1_000_000)
    aside = root / results.set_aside(damaged)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".a.partial").write_text("keep")
    for folder in (aside, root / "trials" / unfinished):
        (folder / "link").symlink_to(tmp_path / "outside")
    (root / "checkpoints" / ".x.partial").write_bytes(b"x" * 500_000)
    monkeypatch.setattr(leftovers, "SETTLED_SECONDS", -1.0)
    return root


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_leftovers_are_listed_and_removed_only_with_yes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(root)
    done, _ = Results(str(root)).trial_ids()
    (aside,) = (root / "set-aside").iterdir()
    status, text = run_command(capsys, "clean", str(root))
    assert status == OK and everything(root) == before
    lines = text.splitlines()
    assert lines[0] == "       0.5 MB  interrupted write: checkpoints/.x.partial"
    assert lines[1] == f"       1.0 MB  checkpoint of a done trial: checkpoints/{done}.safetensors"
    assert lines[2].endswith(f" MB  damaged trial, set aside: set-aside/{aside.name}")
    assert lines[3].startswith("3 leftovers, 1.5") and lines[4].endswith("--yes")
    status, text = run_command(capsys, "clean", str(root), "--yes")
    assert status == OK and text.splitlines()[-1].endswith("MB, removed")
    gone = before - everything(root)
    assert {name.split("/")[0] for name in gone} == {"checkpoints", "set-aside"}
    assert len(list((root / "checkpoints").iterdir())) == 1
    assert (root.parent / "outside" / ".a.partial").is_file()
    assert run_command(capsys, "clean", str(root), "--yes") == (
        OK,
        "0 leftovers, 0.0 MB, removed\n",
    )


def test_a_young_write_stays(tmp_path: Path) -> None:
    results = Results(make_page_results(tmp_path / "r", ["elyza"], ["ja0"], [0], num_items=20))
    (tmp_path / "r" / ".x.partial").write_bytes(b"x")
    assert list_leftovers(results) == []


def test_nothing_is_removed_while_a_driver_lives(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = "2026-01-01T00:00:00Z"
    lease = {
        "lease_id": "other", "host": "here", "machine": identify_machine(), "pid": os.getppid(),
        "started": find_process_start(os.getppid()), "since": now, "renewed": now,
    }  # fmt: skip
    (root / "experiments" / "test.lease.json").write_text(json.dumps(lease))
    before = everything(root)
    assert run_command(capsys, "clean", str(root))[0] == OK
    status, text = run_command(capsys, "clean", str(root), "--yes")
    assert status == BAD_INPUT and "is driven by pid" in text and everything(root) == before


@pytest.mark.parametrize("kind", ["absent", "other files", "a file"])
def test_a_folder_that_is_no_results_location_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "r"
    if kind == "other files":
        place.mkdir()
        (place / ".x.partial").touch()
        (place / "mine").touch()
    elif kind == "a file":
        place.touch()
    status, text = run_command(capsys, "clean", str(place), "--yes")
    assert status == BAD_INPUT and text.startswith("xlt: ")
    assert kind != "other files" or len(list(place.iterdir())) == 2


def test_a_trial_that_ends_removes_parts_of_its_checkpoint(root: Path) -> None:
    results = Results(str(root))
    done, unfinished = results.trial_ids()
    for trial_id in (done, unfinished):
        (root / "checkpoints" / f".{trial_id}.safetensors.abc.partial").touch()
    results.remove_checkpoint(done)
    left = {path.name for path in (root / "checkpoints").iterdir()}
    part = f".{unfinished}.safetensors.abc.partial"
    assert left == {".x.partial", f"{unfinished}.safetensors", part}


def test_leftovers_of_an_object_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    local = Results(make_page_results(tmp_path / "r", ["elyza"], ["ja0"], [0, 1], num_items=20))
    with serve_s3() as s3:
        there = Results(s3.bucket())
        for path in Files(local.uri).sizes():
            Files.write(there, path, local.read(path))
        done, other = there.trial_ids()
        there.save_checkpoint(done, b"x")
        there.set_aside(other)
        status, text = run_command(capsys, "clean", there.uri, "--yes")
        assert status == OK and "2 leftovers" in text
        assert not there.sizes("set-aside") and not there.sizes("checkpoints")
        assert run_command(capsys, "clean", there.uri)[1].startswith("0 leftovers")
