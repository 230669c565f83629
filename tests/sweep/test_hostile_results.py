"""Results of somebody else: no file crashes a command, hangs it, or leads out of the location."""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from page_results import make_page_results
from result_folders import save_failed
from rich.console import Console
from run_command import run_command

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_parquet
from xlt.data.tables import parquet
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.driver.lease import hold_lease
from xlt.trainables.results.attributions import read_record
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import seal_record

DEEP = {"lists": b"[" * 100_000, "objects": b'{"a":' * 990 + b"1" + b"}" * 990, "NUL": b"\0" * 99}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    uri = make_page_results(tmp_path / "r", ["elyza"], ["ja0", "ja16"], [0, 1], num_items=20)
    return Results(uri)


def file_of(results: Results, name: str) -> Path:
    """A file of the first trial, or one with its path."""
    inside = name if "/" in name or name.startswith("xlt") else f"trials/{first(results)}/{name}"
    return Path(results.path(inside))


def first(results: Results) -> str:
    return results.trial_ids()[0]


def forge(results: Results, table: str, content: pa.Table | bytes) -> None:
    """Replace a table of the first trial, with the right hashes in its record."""
    stored = content if isinstance(content, bytes) else to_parquet(content)
    file_of(results, f"{table}.parquet").write_bytes(stored)
    record = json.loads(file_of(results, "trial.json").read_bytes())
    digest = hashlib.sha256(stored).hexdigest()
    record["files"][f"{table}.parquet"] = {"size": len(stored), "sha256": digest}
    file_of(results, "trial.json").write_text(json.dumps(seal_record(record)))


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", DEEP)
@pytest.mark.parametrize("name", ["xlt-results.json", "experiments/test.plan.json"])
def test_a_hostile_marker_or_plan_is_one_error(
    name: str, content: str, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    file_of(results, name).write_bytes(DEEP[content])
    for command in ("status", "report"):
        status, text = run_command(capsys, command, results.uri)
        assert status == BAD_INPUT and f"{name} is not JSON: " in text and text.count("\n") == 1


@pytest.mark.parametrize("content", DEEP)
@pytest.mark.parametrize("name", ["trial.json", "error.json", "attributions-lime.json"])
def test_a_hostile_record_is_a_corrupt_trial(
    name: str, content: str, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "error.json":
        file_of(results, "trial.json").unlink()
    file_of(results, name).write_bytes(DEEP[content])
    status, text = run_command(capsys, "status", results.uri)
    assert status == OK
    if name == "attributions-lime.json":
        assert read_record(results, first(results), "lime") is None
    else:
        assert f"corrupt {first(results)}: " in text and f"{name} is not JSON" in text


ODD = {
    "plan.experiment": "../../evil",
    "plan.cells.0.trials.0.trial_id": "../../../evil",
    "plan.cells.0.trials.0.seed": 10**30,
    "plan.cells": [],
    "error.spec.base_model": 2**70,
    "error.spec.method": [],
    "error.spec.training": None,
    "error.error": {"a": [None]},
}


@pytest.mark.parametrize("place", ODD)
def test_an_odd_value_is_an_error_or_shown(
    place: str, results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, *keys, last = place.split(".")
    if kind == "error":
        file_of(results, "trial.json").unlink()
        save_failed(results, "elyza", "ja0", 0, "boom")
    file = file_of(results, "experiments/test.plan.json" if kind == "plan" else "error.json")
    values: Any = json.loads(file.read_bytes())
    inside = values
    for key in keys:
        inside = inside[int(key) if key.isdecimal() else key]
    inside[last] = ODD[place]
    file.write_text(json.dumps(values))
    for command in (("status",), ("report", "--format", "html", "--out", str(tmp_path / "a.html"))):
        status, text = run_command(capsys, command[0], results.uri, *command[1:])
        assert status == (BAD_INPUT if kind == "plan" else OK)
        assert status == OK or text.startswith("xlt: ")


# --- leases -------------------------------------------------------------------------------------

LEASE: dict[str, Any] = {
    "lease_id": "other", "host": "node7", "machine": "another machine", "pid": 4711,
    "started": "99", "since": "2026-01-01T00:00:00Z", "renewed": "2026-01-01T00:00:00Z",
}  # fmt: skip
LEASES: dict[str, Any] = {
    "no zone": LEASE | {"renewed": "2026-01-01T00:00:00"},
    "no time": LEASE | {"since": "soon"},
    "year 10000": LEASE | {"since": "10000-01-01T00:00:00Z"},
    "pid 2**40": LEASE | {"pid": 2**40},
    "pid 0": LEASE | {"pid": 0},
    "pid -1": LEASE | {"pid": -1},
    "pid as text": LEASE | {"pid": "4711"},
    "pid as list": LEASE | {"pid": [4711]},
    "started as number": LEASE | {"started": 99},
    "no list": [],
}


@pytest.mark.parametrize("name", [*LEASES, *DEEP, "pipe", "folder"])
def test_a_hostile_lease_is_one_error(name: str, results: Results) -> None:
    file = file_of(results, "experiments/tiny.lease.json")
    if name == "pipe":
        os.mkfifo(file)
    elif name == "folder":
        file.mkdir()
    else:
        file.write_bytes(DEEP[name] if name in DEEP else json.dumps(LEASES[name]).encode())
    lease = hold_lease(results, "tiny", Console(file=io.StringIO()))
    with pytest.raises(InputError) as caught, lease:
        pass
    assert "lease.json" in str(caught.value)


# --- Parquet ------------------------------------------------------------------------------------


def many(num_rows: int) -> pa.Table:
    """Rows of equal values, which take no space in a file."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * num_rows, pa.int8()), ["x"])
    return pa.table(
        {
            "id": words.cast(pa.string()), "lang": words.cast(pa.string()),
            "split": pa.array(["test"] * num_rows), "y_true": pa.array([1] * num_rows, pa.int8()),
            "y_score": pa.array([0.5] * num_rows),
        }
    )  # fmt: skip


def with_type(column: str, values: list[Any]) -> Callable[[], pa.Table]:
    table = many(len(values))
    place = table.schema.get_field_index(column)
    return lambda: table.set_column(place, column, pa.array(values))


TABLES: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "values": (lambda: many(500), "has 2,000 values in 500 rows, more than 1,000"),
    "nested": (with_type("id", [{"a": "b"}]), "id (struct<a: string>)"),
    "list of lists": (with_type("y_score", [[[0.5]]]), "y_score (list<"),
    "numbers": (with_type("split", [1]), "split (int64)"),
    "texts": (with_type("y_true", ["1"]), "y_true (string)"),
    "nothing": (with_type("id", [None]), "predictions with empty entries"),
    "no rows": (lambda: many(0), "predictions without test rows"),
    "columns": (lambda: pa.table({f"c{n}": [1] for n in range(10_000)}), "predictions without id"),
}


@pytest.mark.parametrize("name", TABLES)
def test_hostile_predictions_are_a_sentence_below_the_table(
    name: str, results: Results, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(parquet, "MOST_VALUES", 1_000)
    make, problem = TABLES[name]
    forge(results, "predictions", make())
    page = str(tmp_path / "a.html")
    for command in (("report", "--intervals"), ("report", "--format", "html", "--out", page)):
        status, text = run_command(capsys, command[0], results.uri, *command[1:])
        assert status == OK
        text = Path(page).read_text("utf-8") if "html" in command else text
        assert (html.escape(problem) if "html" in command else problem) in text
    status, text = run_command(capsys, "boundary", results.uri)
    assert status == OK and problem in text


@pytest.mark.parametrize("columns", [{"epoch": ["a"]}, {"loss": [[1.0]]}, {"epoch": [{"a": 1}]}])
def test_a_hostile_history_is_told(
    columns: dict[str, list[Any]], results: Results, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    values = {
        "step": [1],
        "epoch": [1.0],
        "learning_rate": [1.0],
        "loss": [1.0],
        "grad_norm": [1.0],
    }
    forge(results, "history", pa.table({**values, **columns}))
    out = str(tmp_path / "a.html")
    assert run_command(capsys, "report", results.uri, "--format", "html", "--out", out)[0] == OK
    figures = ("--kinds", "training", "--out", str(tmp_path / "f"))
    status, text = run_command(capsys, "figures", results.uri, *figures)
    assert (
        status == OK
        and "left out: training-elyza-ja0: history.parquet has columns of other" in text
    )


def test_the_limit_is_read_from_the_footer(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(results, "predictions", many(2_000))
    assert results.read_table(first(results), "predictions").num_rows == 2_000
    monkeypatch.setattr(parquet, "MOST_VALUES", 9_999)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(InputError, match=r"predictions\.parquet has 10,000 values in 2,000 rows"):
        results.read_table(first(results), "predictions")


MOST_ROWS = {"predictions": 10_000, "train_rows": 1_024, "history": 640}
"""Table -> number of rows that a trial of the plan has."""


@pytest.fixture(scope="module")
def many_rows() -> pa.Table:
    """40 million rows, which take 0.1 MB in a file."""
    return pa.table({"id": pa.DictionaryArray.from_arrays(np.zeros(40_000_000, np.int8), ["x"])})


@pytest.mark.parametrize("table", MOST_ROWS)
def test_a_table_of_more_rows_than_its_trial_is_refused_unread(
    table: str, many_rows: pa.Table, results: Results,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    forge(results, table, many_rows)
    assert file_of(results, f"{table}.parquet").stat().st_size < 500_000
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda *_, **__: pytest.fail("read"))
    before, start = pa.total_allocated_bytes(), time.process_time()
    state = results.state(first(results))
    assert time.process_time() - start < 0.5
    assert pa.total_allocated_bytes() - before < 10**6
    problem = f"{table}.parquet has 40,000,000 rows, more than the {MOST_ROWS[table]:,} that"
    assert state.state == "corrupt" and state.detail.startswith(problem)
    assert f"corrupt {first(results)}: {problem}" in run_command(capsys, "status", results.uri)[1]


@pytest.mark.parametrize("table", MOST_ROWS)
def test_a_table_has_as_many_rows_as_its_trial(table: str, results: Results) -> None:
    for num_rows, state in ((MOST_ROWS[table], "done"), (MOST_ROWS[table] + 1, "corrupt")):
        forge(results, table, many(num_rows))
        assert results.state(first(results)).state == state


def test_long_texts_are_counted_before_they_are_decoded(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of 4 MB in 500 rows takes 381 bytes in a file, and 2 GB in memory."""
    forge(results, "predictions", many(500))
    whole = results.read_table(first(results), "predictions")
    monkeypatch.setattr(parquet, "MOST_BYTES", 3_000)  # so that its texts are counted
    assert results.read_table(first(results), "predictions").equals(whole)
    monkeypatch.undo()
    words = pa.DictionaryArray.from_arrays(np.zeros(500, np.int8), ["x" * 4_000_000])
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": words}), sink, compression="zstd", store_schema=False)
    assert len(sink.getvalue()) < 500
    forge(results, "predictions", sink.getvalue())
    start = time.process_time()
    with pytest.raises(InputError, match=r"has texts of 2,000,000,000 bytes, more than 536,870,91"):
        results.read_table(first(results), "predictions")
    assert time.process_time() - start < 0.5


def test_a_table_without_a_footer_is_a_corrupt_trial(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(results, "history", b"PAR1" + bytes(99))
    status, text = run_command(capsys, "status", results.uri)
    assert status == OK
    assert f"corrupt {first(results)}: history.parquet cannot be read: " in text


def test_predictions_without_scores_name_no_classes(results: Results) -> None:
    forge(results, "predictions", many(0))
    Path(results.path("experiments/test.plan.json")).unlink()
    with pytest.raises(InputError):
        find_trial(results.uri, first(results))
