"""xlt predict: from new texts to a table of tags, whole or gone on with, here or over Ray."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from kept_models import run_kept, write_csv
from kept_tiny import keep
from tiny_data import make_dataset
from tiny_tasks import PATTERN, three_classes

from xlt.data.core.errors import InputError
from xlt.data.tables.unlabelled import Unlabelled
from xlt.sweep.cli.main import main
from xlt.sweep.predict.run import Predict, predict
from xlt.trainables.results.best_model import HOW_CHOSEN
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.results.result import Results

BAD_ROWS: list[list[object]] = [["b1", "  ", "ja"], ["b2", "goal<s>", "ja"]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, experiment_file: Path) -> str:
    return run_kept(experiment_file, tmp_path_factory.mktemp("kept") / "results")


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """Every row that the trials drew from, some long ones, and two that cannot be tagged."""
    table = make_dataset().table
    rows: list[list[object]] = [[r["id"], r["text"], r["lang"]] for r in table.to_pylist()]
    rows[5:5] = BAD_ROWS
    rows.append(["long", "goal " * 300, "ja"])
    return write_csv(tmp_path / "new.csv", ["id", "text", "lang"], rows)


def xlt(kept: str, texts: str, out: Path | str, *arguments: str) -> int:
    return main(["predict", kept, texts, "--model", "llama", "--out", str(out), *arguments])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def files(folder: Path, out: str) -> dict[str, bytes]:
    """An output and what lies beside it."""
    found = [p for p in folder.rglob(f"{out}*") if p.is_file()]
    return {p.name.removeprefix(out): p.read_bytes() for p in found}


def test_from_texts_to_tags(
    kept: str, texts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert xlt(kept, texts, tmp_path / "out.csv", "--chunk-rows", "50") == 0
    shown = capsys.readouterr().out
    trial = find_trial(kept, model="llama")
    assert f"121 of 123 rows tagged by {trial.trial_id} at threshold 0.5: " in shown
    assert "Rejected: 1 empty text, 1 ends with the pad token; see " in shown
    assert "Cut to 128 tokens: 1 texts" in shown
    assert "Model: " not in shown  # the only seed, all adapters were kept

    rows = {row["id"]: row for row in read(tmp_path / "out.csv")}
    assert list(rows["ja0"]) == ["id", "lang", "label", "score"]
    known = Results(kept).read_table(trial.trial_id, "predictions")
    scores = [float(rows[name]["score"]) for name in known["id"].to_pylist()]
    np.testing.assert_allclose(scores, known["y_score"].to_numpy(), atol=1e-6)
    for row in rows.values():
        assert row["label"] == ("news" if float(row["score"]) >= 0.5 else "not news")
    assert {row["label"] for row in rows.values()} == {"news", "not news"}
    rejected = read(tmp_path / "out.csv.rejected.csv")
    assert [(r["file"], r["row"], r["id"], r["reason"]) for r in rejected] == [
        ("new.csv", "7", "b1", "empty text"),
        ("new.csv", "8", "b2", "ends with the pad token: <s>"),
    ]
    assert not (tmp_path / "out.csv.parts").exists()

    before = files(tmp_path, "out.csv")
    assert xlt(kept, texts, tmp_path / "out.csv", "--chunk-rows", "50") == 0
    again = capsys.readouterr().out
    assert "All rows were tagged before; nothing ran." in again
    assert again.splitlines()[0] == shown.splitlines()[0]
    assert files(tmp_path, "out.csv") == before


def test_the_summary_says_how_the_model_was_chosen(
    kept: str, texts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    chosen = replace(find_trial(kept, model="llama"), chosen=HOW_CHOSEN)
    monkeypatch.setattr("xlt.trainables.results.find_trial.find_trial", lambda *_, **__: chosen)
    assert xlt(kept, texts, tmp_path / "out.csv") == 0
    assert f"Model: {HOW_CHOSEN}\n" in capsys.readouterr().out


def test_every_format_says_the_same(kept: str, texts: str, tmp_path: Path) -> None:
    common = ("--class-scores", "--keep", "lang=language", "--chunk-rows", "30")
    for out in ("a.csv", "a.jsonl", "a.parquet", "a/"):
        assert xlt(kept, texts, f"{tmp_path}/{out}", *common) == 0
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert list(rows[0]) == [
        "id", "lang", "label", "score", "score:not news", "score:news", "language",
    ]  # fmt: skip
    assert rows[0]["score:news"] == rows[0]["score"] == 1 - rows[0]["score:not news"]
    assert rows[0]["language"] == "en"
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == rows
    assert read(tmp_path / "a.csv") == [{k: str(v) for k, v in row.items()} for row in rows]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["part-00000.parquet"]
    assert pq.read_table(tmp_path / "a").to_pylist() == rows
    pipe = subprocess.run(
        [sys.executable, "-m", "xlt", "predict", kept, "-", "--model", "llama", "--out", "b.csv"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
        input="\n".join([make_dataset().table["text"][0].as_py(), "", "goal"]),
    )  # fmt: skip
    assert "2 of 3 rows tagged" in pipe.stdout
    piped = read(tmp_path / "b.csv")
    assert [row["id"] for row in piped] == ["1", "3"]
    assert float(piped[0]["score"]) == pytest.approx(rows[0]["score"], abs=1e-6)


class CutOffError(RuntimeError):
    """Stands for whatever ends a process between two chunks."""


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(
    kept: str, texts: str, tmp_path: Path
) -> None:
    trial, settings = find_trial(kept, model="llama"), Predict(chunk_rows=20, threshold="median")
    predict(trial, texts, f"{tmp_path}/whole.csv", settings)

    def cut(num_rows: int, num_new: int) -> None:
        if num_rows >= 60:
            raise CutOffError

    with pytest.raises(CutOffError):
        predict(trial, texts, f"{tmp_path}/cut.csv", settings, progress=cut)
    parts = sorted((tmp_path / "cut.csv.parts").glob("part-*"))
    assert len(parts) == 3
    assert not (tmp_path / "cut.csv").exists()
    stamps = [part.stat().st_mtime_ns for part in parts]
    seen = []

    def note(num_rows: int, num_new: int) -> None:
        seen.append((num_rows, num_new))
        if num_rows == 60:
            assert [part.stat().st_mtime_ns for part in parts] == stamps

    made = predict(trial, texts, f"{tmp_path}/cut.csv", settings, progress=note)
    assert made.num_new == 63
    assert seen[2] == (60, 0)
    assert files(tmp_path, "cut.csv") == files(tmp_path, "whole.csv")


def test_nothing_is_mixed(kept: str, texts: str, tmp_path: Path, experiment_file: Path) -> None:
    trial, settings = find_trial(kept, model="llama"), Predict(chunk_rows=20)
    out = f"{tmp_path}/out.csv"

    def told(*arguments: Any, **changes: Any) -> str:
        with pytest.raises(InputError) as caught:
            predict(*arguments, Predict(**({"chunk_rows": 20} | changes)))
        return str(caught.value)

    def cut(num_rows: int, num_new: int) -> None:
        if num_rows >= 60:
            raise CutOffError

    with pytest.raises(CutOffError):
        predict(trial, texts, out, settings, progress=cut)
    other = find_trial(kept, model="gpt_neox")
    content = Path(texts).read_text()
    for finished in (False, True):
        assert f'trial_id: "{trial.trial_id}" there' in told(other, texts, out)
        assert 'threshold: {"value": 0.5' in told(trial, texts, out, threshold="0.4")
        assert "batch_size: 64 there, 8 requested" in told(trial, texts, out, batch_size=8)
        assert "keep: {} there" in told(
            trial, Unlabelled(path=texts, keep={"lang": "language"}), out
        )
        lines = content.splitlines()
        Path(texts).write_text("\n".join([*lines[:30], lines[30] + "x", *lines[31:]]) + "\n")
        problem = told(trial, texts, out)
        assert (
            "was made from another INPUT" if finished else "chunk 1 of INPUT differs"
        ) in problem
        Path(texts).write_text("\n".join(lines[:41]) + "\n")
        problem = told(trial, texts, out)
        assert (
            "was made from another INPUT" if finished else "INPUT has 2 chunks, fewer than"
        ) in problem
        Path(texts).write_text(content)
        predict(trial, texts, out, settings)
    assert predict(trial, texts, out, Predict(chunk_rows=20, threshold="0.50")).num_new == 0

    mine = tmp_path / "mine.csv"
    mine.write_text("mine")
    assert "exists and was not made by `xlt predict`" in told(trial, texts, str(mine))
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_bytes(kept: str, tmp_path: Path) -> None:
    rows: list[list[object]] = [[n, f"{n} goal {n % 7} carbon"] for n in range(1500)]
    texts = write_csv(tmp_path / "new.csv", ["id", "text"], rows)
    common = ["--model", "llama", "--chunk-rows", "10", "--out"]
    command = [sys.executable, "-m", "xlt", "predict", kept, texts, *common]
    started = subprocess.Popen([*command, f"{tmp_path}/killed.csv"], stderr=subprocess.PIPE)
    third = tmp_path / "killed.csv.parts" / "part-000003.parquet"
    end = time.monotonic() + 120
    while not third.exists() and started.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    assert started.returncode == -signal.SIGKILL
    assert 3 < len(list(third.parent.glob("part-*"))) < 150
    for out in ("killed.csv", "whole.csv"):
        assert main(["predict", kept, texts, *common, f"{tmp_path}/{out}"]) == 0
    assert files(tmp_path, "killed.csv") == files(tmp_path, "whole.csv")


@pytest.mark.ray
@pytest.mark.slow
def test_over_ray_as_inline(
    kept: str, texts: str, tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--chunk-rows", "20", "--threshold", "prior=0.3"]
    assert xlt(kept, texts, tmp_path / "inline.csv", *arguments) == 0
    trial, settings = find_trial(kept, model="llama"), Predict(chunk_rows=20, threshold="prior=0.3")

    def cut(num_rows: int, num_new: int) -> None:
        if num_new >= 40:
            raise CutOffError

    with pytest.raises(CutOffError):
        predict(trial, texts, f"{tmp_path}/inline2.csv", settings, progress=cut)
    for out in ("ray.csv", "inline2.csv"):
        assert xlt(kept, texts, tmp_path / out, *arguments, "--address", ray_address) == 0
        assert files(tmp_path, out) == files(tmp_path, "inline.csv")

    class Piped:
        buffer = io.BytesIO(b"goal\ncarbon\n")

    monkeypatch.setattr(sys, "stdin", Piped())
    assert xlt(kept, "-", tmp_path / "lines.csv", "--backend", "ray") == 0
    assert [row["id"] for row in read(tmp_path / "lines.csv")] == ["1", "2"]

    weights = Path(kept, "trials", trial.trial_id, *next(iter(trial.files)).split("/"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    try:
        with pytest.raises(InputError, match="was changed after it was written"):
            predict(trial, texts, f"{tmp_path}/bad.csv", settings, backend="ray")
    finally:
        weights.write_bytes(content)


@pytest.mark.parametrize(
    ("threshold", "share"), [("median", 0.5), ("prior=0.2", 0.2), ("1", 0.0), ("0", 1.0)]
)
def test_thresholds(threshold: str, share: float, kept: str, texts: str, tmp_path: Path) -> None:
    made = predict(
        find_trial(kept, model="llama"), texts, f"{tmp_path}/a.csv", Predict(threshold=threshold)
    )
    rows = read(tmp_path / "a.csv")
    chosen = np.mean([row["label"] == "news" for row in rows])
    assert chosen == pytest.approx(share, abs=0.02)
    assert made.counts.labels["news"] == sum(row["label"] == "news" for row in rows)


def test_a_rule_chooses_the_threshold_on_the_test_rows(
    kept: str, texts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = find_trial(kept, model="llama")
    known = Results(kept).read_table(trial.trial_id, "predictions")
    y_true, score = known["y_true"].to_numpy(), known["y_score"].to_numpy()
    weights = np.where(y_true == 1, 0.3 / (y_true == 1).sum(), 0.7 / (y_true == 0).sum())
    options = ["--threshold", "alarms=250", "--prevalence", "0.3"]
    assert xlt(kept, texts, tmp_path / "a.csv", *options) == 0
    shown = capsys.readouterr().out
    threshold = float(shown.split("at threshold ")[1].split(":")[0])
    assert 1000 * weights[score >= threshold].sum() <= 250
    one_more = score[score < threshold].max()
    assert 1000 * weights[score >= one_more].sum() > 250
    assert "Threshold: alarms=250 at 30 %: " in shown
    assert xlt(kept, texts, tmp_path / "a.csv", *options) == 0
    assert "All rows were tagged before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--threshold", "1.5"], "threshold '1.5' is not valid; give a number between 0 and 1"),
        (["--threshold", "prior=1"], "threshold 'prior=1' is not valid"),
        (["--threshold", "nan"], "threshold 'nan' is not valid"),
        (["--threshold", "precision=2"], "'precision=2' is not valid; give precision=0.5, or"),
        (["--threshold", "alarms=20"], "give it with --prevalence, e.g. 0.02"),
        (["--prevalence", "0.02"], "--prevalence is for a rule such as precision=0.5, not for 0.5"),
        (["--prevalence", "2", "--threshold", "alarms=9"], "prevalence: should be less than 1"),
        (["--threshold", "platt"], "'platt' is fitted on labelled rows, and new texts have no"),
        (["--columns", "text=headline"], "unknown column 'headline'"),
        (["--columns", "txt=text"], "unknown key 'txt'. Did you mean 'text'?"),
        (["--columns", "text"], "'text' is not NAME=COLUMN"),
        (["--keep", "lng"], "unknown column to keep 'lng'. Did you mean 'lang'?"),
        (["--keep", "lang"], "e.g. --keep lang=lang_given"),
        (["--batch-size", "0"], "batch_size: should be greater than 0"),
        (["--format", "xls"], "format: should be 'csv', 'tsv', 'jsonl' or 'parquet'"),
        (["--backend", "slurm"], "unknown backend 'slurm'"),
        (["--out", "a.xlsx"], "unknown ending '.xlsx'."),
        (["--out", "a"], "unknown ending 'a'."),
        (["--base-path", "/nowhere"], "--base-path '/nowhere' is no folder"),
        (["--seed", "4"], "unknown seed '4'"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], problem: str, kept: str, texts: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert xlt(kept, texts, tmp_path / "out.csv", *arguments) == 2
    told = capsys.readouterr().err
    assert problem in told
    assert "Traceback" not in told
    assert [p.name for p in tmp_path.iterdir()] == ["new.csv"]


def test_inputs_without_a_row_to_tag(
    kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("text\n")
    assert xlt(kept, f"{tmp_path}/a.csv", tmp_path / "out.csv") == 2
    assert "holds no rows, so there is nothing to tag" in capsys.readouterr().err
    (tmp_path / "a.csv").write_text('text,id\n" ",1\n')
    assert xlt(kept, f"{tmp_path}/a.csv", tmp_path / "out2.csv") == 2
    told = capsys.readouterr().err
    assert "none of 1 rows can be tagged" in told
    assert "1 rows: empty text" in told
    assert xlt(kept, f"{tmp_path}/none.csv", tmp_path / "out3.csv") == 2
    assert "there is no such file" in capsys.readouterr().err


def test_more_classes_have_no_threshold(make_spec: Any, tmp_path: Path) -> None:
    dataset = three_classes()
    spec = make_spec(
        "bert", pattern=PATTERN, sampling={"test_rows": 90}, data_fingerprint=dataset.fingerprint
    )
    trial, results = keep(spec, dataset, tmp_path / "results")
    known = results.read_table(trial.trial_id, "predictions")
    rows = dataset.rows(known["id"].to_pylist()).select(["id", "text"]).to_pylist()
    texts = write_csv(tmp_path / "new.csv", ["id", "text"], [list(row.values()) for row in rows])
    with pytest.raises(
        InputError, match="the trial has 3 classes, and the label is the most probable one"
    ):
        predict(trial, texts, f"{tmp_path}/a.parquet", Predict(threshold="0.5"))
    made = predict(trial, texts, f"{tmp_path}/a.parquet", Predict(class_scores=True))
    table = pq.read_table(tmp_path / "a.parquet")
    scores = np.array(known["y_score"].to_pylist())
    found = np.stack([table[f"score:{name}"].to_numpy() for name in "012"], axis=1)
    np.testing.assert_allclose(found, scores, atol=1e-6)
    np.testing.assert_array_equal(table["score"].to_numpy(), found.max(axis=1))
    assert table["label"].to_pylist() == [str(n) for n in found.argmax(axis=1)]
    assert sum(made.counts.labels.values()) == 90
    assert made.counts.threshold is None
