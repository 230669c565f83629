"""The cache of verified folders: what it spares, and everything that must not be spared."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from result_folders import make_plan, make_results, make_spec, save_done, save_failed
from simulated_scores import predictions

from xlt.analysis.trials.collect import collect
from xlt.data.core.user_cache import CacheFile
from xlt.trainables.results import verified as cache
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState
from xlt.trainables.results.verified import read_verified_states

SCORES = {"f1": 0.5, "auroc": 0.75}
IDS = [make_spec("elyza", "ja16", seed).trial_id for seed in range(3)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few trials are many, and a folder is settled at once."""
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "FEWEST_TRIALS", 1)
    monkeypatch.setattr("xlt.analysis.trials.predictions.FEWEST_TRIALS", 1)
    monkeypatch.setattr(cache, "SETTLED_SECONDS", -60.0)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = make_results(tmp_path / "results", make_plan())
    for seed in range(3):
        table = predictions(["a", "b"], [0, 1], [0.25, 0.5 + seed / 10])
        save_done(made, "elyza", "ja16", seed, SCORES, predictions=table)
    return made


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the trials that were verified in full."""
    seen: list[str] = []
    state = Results.state

    def remember(self: Results, trial_id: str) -> TrialState:
        seen.append(trial_id)
        return state(self, trial_id)

    monkeypatch.setattr(Results, "state", remember)
    return seen


def cache_files(tmp_path: Path) -> list[Path]:
    return sorted(file for file in (tmp_path / "cache").rglob("*") if file.is_file())


def look(results: Results) -> dict[str, TrialState]:
    return read_verified_states(results, "test", IDS)


def test_an_unchanged_folder_is_verified_once(results: Results, verified: list[str]) -> None:
    first = look(results)
    assert sorted(verified) == sorted(IDS)
    verified.clear()
    assert look(results) == first and verified == []
    # The results hold nothing of it.
    assert {p.name for p in Path(results.root).iterdir()} == {
        "xlt-results.json", "experiments", "trials",
    }  # fmt: skip


def _change_a_byte(folder: Path) -> None:
    """Same size, and the old time of change put back: only the inode's own time tells."""
    file = folder / "predictions.parquet"
    seen = file.stat()
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _replace(folder: Path) -> None:
    """Another folder in its place, times kept as by ``cp -a``, a byte changed."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    copy.rename(folder)
    _change_a_byte(folder)


def _remove(folder: Path) -> None:
    (folder / "history.parquet").unlink()


def _add(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "x.safetensors").write_bytes(b"")


def _metric(folder: Path) -> None:
    record = folder / "trial.json"
    record.write_text(record.read_text().replace("0.75", "0.76"))


def _format(folder: Path) -> None:
    record = folder / "trial.json"
    record.write_text(record.read_text().replace('"format": 2', '"format": 99'))


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (_change_a_byte, "corrupt"), (_replace, "corrupt"), (_remove, "corrupt"), (_add, "done"),
        (_metric, "corrupt"), (_format, "corrupt"), (shutil.rmtree, "absent"),
    ],
)  # fmt: skip
def test_a_changed_folder_is_verified_again(
    results: Results, verified: list[str], change: Callable[[Path], None], state: str
) -> None:
    look(results)
    verified.clear()
    change(Path(results.path("trials", IDS[1])))
    found = look(results)
    assert verified == [IDS[1]]
    assert found[IDS[1]].state == state
    assert found == results.states(IDS)


def test_a_copy_elsewhere_has_a_cache_of_its_own(
    results: Results, verified: list[str], tmp_path: Path
) -> None:
    look(results)
    shutil.copytree(results.root, tmp_path / "copy")
    verified.clear()
    look(Results(str(tmp_path / "copy")))
    assert len(verified) == 3


def test_failed_and_missing_trials_are_never_kept(results: Results, verified: list[str]) -> None:
    shutil.rmtree(results.path("trials", IDS[0]))
    save_failed(results, "elyza", "ja16", 0, "out of memory")
    shutil.rmtree(results.path("trials", IDS[1]))
    look(results)
    verified.clear()
    look(results)
    assert sorted(verified) == sorted(IDS[:2])


def test_a_folder_that_was_just_written_is_verified_again(
    results: Results, verified: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 2.0)
    look(results)
    verified.clear()
    look(results)
    assert sorted(verified) == sorted(IDS)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    look(results)
    verified.clear()
    look(results)
    assert verified == []


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "folder", "format", "program"])
def test_a_damaged_cache_is_not_believed(
    results: Results,
    verified: list[str],
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = look(results)
    (file,) = cache_files(tmp_path)
    content = file.read_bytes()
    verified.clear()
    if damage == "cut":
        file.write_bytes(content[:-9])
    elif damage == "changed":  # one digit of a metric
        file.write_bytes(content.replace(b"0.75", b"0.95"))
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage == "format":
        monkeypatch.setattr(cache, "RESULT_FORMAT", 99)
    else:  # whole by its digest, of something else
        body = b"not a table"
        file.write_bytes(hashlib.sha256(body).digest() + body)
    assert look(results) == expected
    assert len(verified) == 3


def test_a_cache_that_cannot_be_written_does_no_harm(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "file"))  # a folder cannot be made in a file
    assert look(results) == results.states(IDS)
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    look(results)
    (tmp_path / "cache" / "results").chmod(0o500)
    look(results)
    (tmp_path / "cache" / "results").chmod(0o700)


def test_few_trials_leave_nothing(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FEWEST_TRIALS", len(IDS) + 1)
    look(results)
    assert cache_files(tmp_path) == []


def test_object_stores_have_stamps_too(verified: list[str], tmp_path: Path) -> None:
    results = Results("mock:///bucket/results")
    results.prepare()
    results.save_experiment(make_plan(), "name: test\n")
    for seed in range(3):
        save_done(results, "elyza", "ja16", seed, SCORES)
    assert look(results)[IDS[0]].state == "done"
    verified.clear()
    assert look(results)[IDS[2]].state == "done" and verified == []
    results.fs.delete_file(results.path("trials", IDS[1], "history.parquet"))
    assert look(results)[IDS[1]].state == "corrupt"


def test_predictions_are_read_once_for_each_content(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {i: collect(results).predictions.of(i) for i in IDS}
    assert len(cache_files(tmp_path)) == 2
    read: list[str] = []
    whole = Results.read_table
    monkeypatch.setattr(
        Results, "read_table", lambda self, i, *rest: (read.append(i), whole(self, i, *rest))[1]
    )
    again = {i: collect(results).predictions.of(i) for i in IDS}
    assert read == []
    for trial_id, rows in again.items():
        assert rows.ids == first[trial_id].ids == ("a", "b")
        assert rows.y_true.tolist() == [0, 1]
        assert rows.y_score.tolist() == first[trial_id].y_score.tolist()
    table = predictions(["a", "b"], [0, 1], [0.25, 0.875])
    shutil.rmtree(results.path("trials", IDS[2]))
    save_done(results, "elyza", "ja16", 2, SCORES, predictions=table)
    assert collect(results).predictions.of(IDS[2]).y_score.tolist() == [0.25, 0.875]
    assert read == [IDS[2]]


def test_what_is_kept_is_what_was_used_last(tmp_path: Path) -> None:
    CacheFile("here", "x", 1).keep({"a": b"1", "b": b"2"})
    CacheFile("here", "x", 1).keep({"b": b"2"})
    assert CacheFile("here", "x", 1).values == {"b": b"2"}
    assert CacheFile("there", "x", 1).values == {} and CacheFile("here", "y", 1).values == {}
