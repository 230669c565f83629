"""A results location that is moved, unmounted or linked elsewhere: nothing is written in its place.

Folders that were copied without their marker can be adopted.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from result_folders import make_plan, make_results, make_spec, save_done, save_failed

from xlt.data.core.errors import InputError
from xlt.data.core.retry import is_temporary, retry
from xlt.trainables.results.adopt import adopt_results
from xlt.trainables.results.attributions import Attributions, save_attributions
from xlt.trainables.results.layout import FOLDERS, MARKER
from xlt.trainables.results.location import LostLocationError
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

SPEC = make_spec("elyza", "ja16", 0)
ID = SPEC.trial_id
METRICS = {"auroc": 0.75}

CHANGES: dict[str, Callable[[Results], object]] = {
    "save": lambda results: save_done(results, "elyza", "ja16", 0, METRICS),
    "save_failure": lambda results: results.save_failure(SPEC, "lost", "Traceback"),
    "save_checkpoint": lambda results: results.save_checkpoint(ID, b"state"),
    "read_checkpoint": lambda results: results.read_checkpoint(ID),
    "remove_checkpoint": lambda results: results.remove_checkpoint(ID),
    "remove_leftovers": lambda results: results.remove_leftovers(ID),
    "set_aside": lambda results: results.set_aside(ID),
    "save_experiment": lambda results: results.save_experiment(make_plan(), "name: test\n"),
    "save_rescued": lambda results: results.save_rescued("test", "cells: []\n"),
    "make_experiments_folder": lambda results: results.make_experiments_folder(),
    "save_attributions": lambda results: save_attributions(
        results, ID, Attributions({"method": "lime"}, error="no model")
    ),
}
"""Functions that change files, or that would misread a lost location."""


def move(results: Results, name: str = "elsewhere") -> None:
    results.fs.move(results.root, f"{results.root.rpartition('/')[0]}/{name}")


def move_back(results: Results) -> None:
    results.fs.move(f"{results.root.rpartition('/')[0]}/elsewhere", results.root)


def all_paths(results: Results) -> set[str]:
    return {info.path for info in results.fs.get_file_info(selector(results))}


def selector(results: Results) -> pafs.FileSelector:
    return pafs.FileSelector(results.root, allow_not_found=True, recursive=True)


@pytest.fixture(params=["local", "remote"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    """A location with a trial, on the local disk and behind a file system that is not local."""
    uri = str(tmp_path / "results") if request.param == "local" else "mock:///bucket/results"
    made = make_results(uri, make_plan())
    save_done(made, "elyza", "ja16", 0, METRICS)
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_written_where_the_location_was(results: Results, change: str) -> None:
    move(results)
    with pytest.raises(LostLocationError, match="/results is gone") as caught:
        CHANGES[change](results)
    assert is_temporary(caught.value)
    assert all_paths(results) == set()
    results.fs.create_dir(f"{results.root}/trials")  # the folder below a mount point
    before = all_paths(results)
    with pytest.raises(LostLocationError, match=f"is another folder now, without {MARKER}"):
        CHANGES[change](results)
    assert all_paths(results) == before
    results.fs.delete_dir(results.root)
    move_back(results)
    CHANGES[change](results)


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_written_to_another_location_in_the_place(change: str, tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", make_plan())
    save_done(results, "elyza", "ja16", 0, METRICS)  # like every command, it looks at the marker
    workers = pickle.loads(pickle.dumps(results))  # what a worker process gets
    move(results)
    save_done(make_results(results.uri), "llama2", "ja0", 1, METRICS)
    before = all_paths(results)
    for own in (results, workers):
        with pytest.raises(LostLocationError, match="is another results location now") as caught:
            CHANGES[change](own)
        assert is_temporary(caught.value)
    assert all_paths(results) == before
    results.fs.delete_dir(results.root)
    move_back(results)
    CHANGES[change](results)


def test_the_marker_is_read_once_and_again_only_if_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, marker = make_results(tmp_path / "results"), tmp_path / "results" / MARKER
    read, num_read = Results.read, 0

    def count(self: Results, *parts: str, most: int | None = None) -> bytes:
        nonlocal num_read
        num_read += 1
        return read(self, *parts, most=most)

    results.require()
    monkeypatch.setattr(Results, "read", count)
    for own in (results, pickle.loads(pickle.dumps(results))):
        own.require()
    assert num_read == 0
    for _ in range(2):  # restored from a backup, or seen through another mount
        os.utime(marker, (1, 1))
        results.require()
    assert num_read == 1
    marker.write_text(json.dumps({"format": RESULT_FORMAT}))  # one of an earlier version
    with pytest.raises(LostLocationError, match="with another id"):
        results.require()
    earlier = Results(results.uri)
    for _ in range(2):
        earlier.require()
        os.utime(marker, (2, 2))
    save_done(earlier, "elyza", "ja16", 0, METRICS)


def test_of_several_processes_one_makes_the_marker(tmp_path: Path) -> None:
    made = [Results(str(tmp_path / "results")) for _ in range(2)]
    made[0].prepare()
    content = made[0].read(MARKER)
    made[1].write_marker()  # it had seen no marker
    assert made[1].read(MARKER) == content
    for results in made:
        results.require()


def test_a_write_waits_until_the_location_is_back(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xlt.data.core.retry.time.sleep", lambda seconds: move_back(results))
    move(results)
    retry(lambda: save_done(results, "elyza", "ja16", 1, METRICS))
    assert results.state(make_spec("elyza", "ja16", 1).trial_id).state == "done"


def test_a_location_that_is_lost_during_a_write_is_the_cause_of_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, write, num_written = make_results(tmp_path / "results"), Results.write, 0

    def write_and_move(self: Results, path: str, content: bytes) -> None:
        nonlocal num_written
        num_written += 1
        if num_written == 3:
            move(self)
        write(self, path, content)

    monkeypatch.setattr(Results, "write", write_and_move)
    with pytest.raises(LostLocationError, match="is gone"):
        save_done(results, "elyza", "ja16", 0, METRICS)
    assert all_paths(results) == set()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_linked_folder_is_refused_and_what_it_points_to_stays(name: str, tmp_path: Path) -> None:
    local = make_results(tmp_path / "r", make_plan())
    save_done(local, "elyza", "ja16", 0, METRICS)
    local.save_checkpoint(ID, b"state")
    folder, theirs = tmp_path / "r" / name, tmp_path / "theirs"
    folder.mkdir(exist_ok=True)
    folder.rename(theirs)
    folder.symlink_to(theirs)
    before = {path: path.stat().st_mtime_ns for path in theirs.rglob("*")}
    for function in (local.check, local.prepare):
        with pytest.raises(InputError, match=f"{name} in results location .* is a symbolic link"):
            function()
    for change in CHANGES.values():  # the link may come while the command runs
        with pytest.raises(LostLocationError, match=f"/{name} is a symbolic link now"):
            change(local)
    assert {path: path.stat().st_mtime_ns for path in theirs.rglob("*")} == before
    folder.unlink()
    theirs.rename(folder)
    local.prepare()


def test_the_location_itself_may_be_a_link(tmp_path: Path) -> None:
    make_results(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    linked = Results(str(tmp_path / "link"))
    linked.prepare()
    save_done(linked, "elyza", "ja16", 0, METRICS)
    assert Results(str(tmp_path / "real")).state(ID).state == "done"


def test_a_folder_without_a_marker_is_adopted_if_its_trials_verify(results: Results) -> None:
    save_failed(results, "elyza", "ja16", 1, "lost")
    before = all_paths(results)
    results.fs.delete_file(results.path(MARKER))
    with pytest.raises(InputError, match=r"holds other files and no .* `xlt run \.\.\. --adopt`"):
        results.prepare()
    adopt_results(results)
    results.prepare()
    assert all_paths(results) == before
    adopt_results(results)  # it has its marker


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / "thesis.docx").write_text("x"), "it also holds thesis.docx"),
        (lambda root: (root / "trials" / ID / "history.parquet").unlink(), "no trial in it is"),
        (shutil.rmtree, "no trial in it is finished and undamaged"),
    ],
)
def test_other_folders_are_not_adopted(
    spoil: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    results = make_results(root)
    save_done(results, "elyza", "ja16", 0, METRICS)
    (root / MARKER).unlink()
    spoil(root)
    before = all_paths(results)
    with pytest.raises(InputError, match=f"cannot be adopted: {problem}"):
        adopt_results(results)
    assert all_paths(results) == before
