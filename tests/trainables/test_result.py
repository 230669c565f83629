"""The result folder: whole or told, never a traceback; written so that nothing is lost."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import RESULT_FORMAT, TrialSpec

FILES = ("predictions.parquet", "history.parquet", "train_rows.parquet", "trial.json")
MODEL = "model/adapter_model.safetensors"
SPEC = TrialSpec.parse(
    {
        "base_model": "elyza",
        "base_identity": "test:elyza",
        "base_path": "/nowhere",
        "method": "full",
        "source_lang": "en",
        "pattern": {"name": "ja16", "target_lang": "ja", "target_rows": 16},
        "sampling": {},
        "training": {},
        "learning_rate": 5e-5,
        "seed": 0,
        "data_fingerprint": "f" * 64,
    }
)
RESULT = TrialResult(
    spec=SPEC,
    metrics={"f1": 0.75, "auroc": 0.5},
    signature={"versions": {"torch": "2"}, "device": "cpu"},
    timings={"fit": 1.5},
    convergence={"final_loss": 0.2},
    predictions=pa.table({"id": ["a", "b"], "y_true": [0, 1], "y_score": [0.25, 0.75]}),
    history=pa.table({"step": [1, 2], "loss": [0.7, 0.6]}),
    train_rows=pa.table({"id": ["c"], "lang": ["en"], "label": [1]}),
    model={"adapter_model.safetensors": b"weights"},
)
ID = SPEC.trial_id


@pytest.fixture(params=["local", "remote"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Results]:
    """A prepared location on the local disk, and behind a file system that is not local."""
    uri = str(tmp_path / "results") if request.param == "local" else "mock:///bucket/results"
    made = Results(uri)
    made.prepare()
    yield made


@pytest.fixture
def local(tmp_path: Path) -> Results:
    made = Results(str(tmp_path / "results"))
    made.prepare()
    return made


def folder_of(results: Results) -> Path:
    return Path(results.path("trials", ID))


# --- round trip -------------------------------------------------------------------------------


def test_what_is_saved_is_read_back(results: Results) -> None:
    assert results.state(ID).state == "absent"
    record = results.save(RESULT)
    state = results.state(ID)
    assert (state.state, state.detail, state.record) == ("done", "", record)
    assert record["metrics"] == RESULT.metrics
    assert TrialSpec.parse(record["spec"]) == SPEC
    assert set(record["files"]) == {*FILES, MODEL} - {"trial.json"}
    assert results.read_table(ID, "predictions").equals(RESULT.predictions)
    assert results.read("trials", ID, MODEL) == b"weights"
    assert results.trial_ids() == [ID]
    assert results.states([ID, "other"])["other"].state == "absent"


def test_any_pyarrow_file_system_will_do(tmp_path: Path) -> None:
    made = Results(str(tmp_path))
    made.fs, made.root = pafs.SubTreeFileSystem(str(tmp_path), made.fs), "bucket"
    made.prepare()
    made.save(RESULT)
    assert made.state(ID).state == "done"
    assert (tmp_path / "bucket" / "trials" / ID / "trial.json").is_file()


def test_a_failure_is_kept_until_the_trial_succeeds(results: Results) -> None:
    results.save_failure(SPEC, "DivergedError: the loss is nan", "Traceback ...")
    state = results.state(ID)
    assert (state.state, state.detail) == ("failed", "DivergedError: the loss is nan")
    assert state.record is not None and state.record["traceback"] == "Traceback ..."
    results.save(RESULT)
    assert results.state(ID).state == "done"
    assert not results.exists("trials", ID, "error.json")


def test_temporary_files_of_a_killed_attempt_go_and_an_earlier_failure_stays(
    local: Results,
) -> None:
    local.save_failure(SPEC, "lost", "Traceback")
    folder = folder_of(local)
    (folder / "model").mkdir()
    (folder / ".trial.json.0e4b.partial").touch()
    (folder / "model" / ".model.safetensors.0e4b.partial").touch()
    local.remove_leftovers(ID)
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["error.json"]
    assert local.state(ID).state == "failed"


def test_a_trial_that_ends_while_leftovers_are_removed_is_kept(local: Results) -> None:
    """A process that was taken for dead writes the record a moment later."""
    local.save(RESULT)
    local.remove_leftovers(ID)
    assert local.state(ID).state == "done"


@pytest.mark.parametrize("place", ["", "model", "predictions.parquet"])
def test_a_link_is_damage_and_what_it_points_to_stays(
    place: str, local: Results, tmp_path: Path
) -> None:
    """The link is that of a trial's folder, of a folder in it, or of a file."""
    local.save(RESULT)
    link = folder_of(local) / place
    target = link.rename(tmp_path / "theirs")
    link.symlink_to(target)
    theirs = contents(target)
    state = local.state(ID)
    assert (state.state, state.detail) == ("corrupt", f"{link} is a symbolic link")
    local.remove_leftovers(ID)
    local.save_failure(SPEC, "lost", "Traceback")  # the link may come while the trial runs
    assert [path.is_symlink() for path in local_set_aside(local, place)] == [True]
    local.save(RESULT)
    assert local.state(ID).state == "done" and not link.is_symlink()
    assert contents(target) == theirs


def local_set_aside(results: Results, name: str) -> list[Path]:
    return [folder / name for folder in Path(results.path("set-aside")).iterdir()]


def contents(path: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in (path, *path.rglob("*")) if p.is_file()}


def test_the_record_is_written_last(local: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Results.write

    def remember(self: Results, path: str, content: bytes) -> None:
        written.append(path.removeprefix(f"trials/{ID}/"))
        write(self, path, content)

    monkeypatch.setattr(Results, "write", remember)
    local.save(RESULT)
    assert written[-1] == "trial.json"
    assert set(written) == {*FILES, MODEL}


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, MODEL])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed", "longer"])
def test_a_damaged_file_is_told_and_set_aside(name: str, damage: str, results: Results) -> None:
    results.save(RESULT)
    path = results.path("trials", ID, name)
    content = results.read("trials", ID, name)
    if damage == "removed":
        results.fs.delete_file(path)
    else:
        changed = {"truncated": content[:-2], "emptied": b"", "longer": content + b"x"}[damage]
        with results.fs.open_output_stream(path) as stream:
            stream.write(changed)
    state = results.state(ID)
    assert state.state == "corrupt"
    assert name in state.detail

    place = results.set_aside(ID)
    assert results.state(ID).state == "absent"
    assert results.trial_ids() == []
    kept = results.fs.get_file_info(pafs.FileSelector(results.path(place), recursive=True))
    assert sum(info.type == pafs.FileType.File for info in kept) == 5 - (damage == "removed")
    results.save(RESULT)
    assert results.state(ID).state == "done"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(FILES))
def test_any_change_of_any_byte_is_told(name: str, data: st.DataObject, local: Results) -> None:
    local.save(RESULT)
    path = folder_of(local) / name
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    piece = data.draw(st.binary(max_size=8))
    path.write_bytes(content[:start] + piece + content[start + data.draw(st.integers(1, 8)) :])
    state = local.state(ID)  # whatever was done to it, no traceback
    if path.read_bytes() == content:
        assert state.state == "done"
    elif name == "trial.json" and state.state == "done":  # the same values, or no hash
        assert json.loads(path.read_bytes()).items() >= unsealed(json.loads(content)).items()
    else:
        assert state.state == "corrupt" and state.detail


def unsealed(record: dict[str, Any]) -> dict[str, Any]:
    """The record as earlier versions wrote it."""
    return {name: value for name, value in record.items() if name != "sha256"}


def test_a_changed_digit_is_told_and_a_record_without_hash_is_read(local: Results) -> None:
    record = local.save(RESULT)
    name = f"trials/{ID}/trial.json"
    metrics = record["metrics"] | {"f1": record["metrics"]["f1"] + 0.01}
    local.write(name, json.dumps(record | {"metrics": metrics}).encode())
    assert local.state(ID).detail == "trial.json was changed after it was written"
    local.write(name, json.dumps(unsealed(record)).encode())
    assert local.state(ID).state == "done"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["format", "spec", "metrics", "signature", "files"]), value=json_values)
def test_any_other_value_in_the_record_is_told(key: str, value: Any, local: Results) -> None:
    record = local.save(RESULT)
    changed = json.dumps(record | {key: value}).encode()
    local.write(f"trials/{ID}/trial.json", changed)
    state = local.state(ID)
    if value != record[key]:
        assert state.state == "corrupt"
        assert state.detail


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["trial.json", "error.json"])
def test_a_record_that_is_none_is_told(name: str, content: bytes, local: Results) -> None:
    local.fs.create_dir(local.path("trials", ID), recursive=True)
    local.write(f"trials/{ID}/{name}", content)
    state = local.state(ID)
    assert state.state == ("failed" if (name, content) == ("error.json", b"{}") else "corrupt")


def test_a_record_of_another_trial_is_refused(local: Results) -> None:
    local.save(RESULT)
    folder_of(local).rename(folder_of(local).with_name("other"))
    state = local.state("other")
    assert state.state == "corrupt"
    assert state.detail == f"the spec in trial.json is that of trial {ID}"


def test_a_record_of_another_format_is_told(local: Results) -> None:
    record = local.save(RESULT)
    local.write(f"trials/{ID}/trial.json", json.dumps(record | {"format": 99}).encode())
    assert local.state(ID).detail == f"format 99, expected {RESULT_FORMAT}"


def test_an_unreadable_location_says_nothing_about_its_trials(
    local: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network fault must not have every finished trial set aside and run again."""
    local.save(RESULT)

    def unreachable(*_: Any, **__: Any) -> bytes:
        raise OSError("connection timed out")

    monkeypatch.setattr(Results, "read", unreachable)
    with pytest.raises(InputError, match="cannot be read: connection timed out"):
        local.state(ID)


@pytest.mark.parametrize("at_write", range(5))
def test_a_full_disk_half_way_leaves_a_folder_that_is_told(
    at_write: int, local: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = Results.write, iter(range(100))

    def filling(self: Results, path: str, content: bytes) -> None:
        if next(count) == at_write:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, path, content)

    monkeypatch.setattr(Results, "write", filling)
    with pytest.raises(OSError, match="No space left"):
        local.save(RESULT)
    state = local.state(ID)
    assert state.state == ("corrupt" if at_write else "absent")
    assert ("half-written" in state.detail) == bool(at_write)
