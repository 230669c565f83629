"""Records of Every Eval Ever: their numbers, their layout, and what they leave out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lang_results import make_lang_plan, save_langs, simulate_langs
from page_results import keep_texts, make_page_results
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import predictions, simulate_classes

from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.trainables.metrics.registry import score
from xlt.trainables.results.result import Results

TEXT = "canary 風力 text"


def write(results: str, out: Path, *options: str) -> list[Path]:
    assert main(["report", results, "--format", "eee", "--out", str(out), *options]) == OK
    return sorted(out.rglob("*.json"))


def lines_of(aggregate: Path) -> list[dict[str, Any]]:
    file = aggregate.with_name(f"{aggregate.stem}_samples.jsonl")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def scores_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["evaluation_result_id"]: r["score_details"] for r in record["evaluation_results"]}


@pytest.fixture
def several(tmp_path: Path) -> str:
    """Two models on two patterns, three seeds; texts are kept."""
    results = make_page_results(tmp_path / "r")
    keep_texts(Results(results), [f"{number:05d}" for number in range(60)], TEXT)
    return results


def test_numbers_are_those_of_the_tables_and_instances_add_up(several: str, tmp_path: Path) -> None:
    files = write(several, tmp_path / "out", "--organization", "My Lab")
    assert len(files) == 4
    collected = collect(several)
    intervals = CellIntervals(load_scores(collected))
    tables = {m: collect_metric_cells(collected, m, None, intervals) for m in ("f1", "auroc")}
    for file in files:
        record, lines = json.loads(file.read_text()), lines_of(file)
        assert file.parent.relative_to(tmp_path / "out" / "data" / "xlt-test") == Path(
            record["model_info"]["id"]
        )
        assert record["model_info"]["id"].startswith("My-Lab/")
        found = scores_of(record)
        for metric, cells in tables.items():
            (cell,) = [
                cell for cell in cells.cells
                if record["model_info"]["id"] == f"My-Lab/{cell.base_model}-{cell.pattern}"
            ]  # fmt: skip
            mean = found[f"ja/{metric}/mean"]
            interval = mean["uncertainty"]["confidence_interval"]
            assert mean["score"] == cell.mean
            assert (interval["lower"], interval["upper"]) == cell.interval
            assert mean["details"]["std_over_runs"] == str(cell.std)
            assert mean["details"]["num_runs"] == "3"
        detail = record["detailed_evaluation_results"]
        content = (tmp_path / "out" / detail["file_path"]).read_bytes()
        assert detail["checksum"] == hashlib.sha256(content).hexdigest()
        assert detail["total_rows"] == len(lines) == 180
        for seed in (0, 1, 2):
            name = f"ja/accuracy/seed-{seed}"
            of_run = [line for line in lines if line["evaluation_result_id"] == name]
            correct = [line["evaluation"]["is_correct"] for line in of_run]
            assert np.mean(correct) == pytest.approx(found[name]["score"])
            test = collected.predictions.of(found[name]["details"]["trial_id"])
            assert [line["sample_id"] for line in of_run] == list(test.ids)
            shown = [float(line["metadata"]["p(positive)"]) for line in of_run]
            np.testing.assert_allclose(shown, test.y_score, rtol=1e-5)


def test_texts_are_written_only_if_asked_for(
    several: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in [*write(several, tmp_path / "out")[0].parent.iterdir()]:
        assert TEXT not in file.read_text("utf-8") and str(tmp_path) not in file.read_text("utf-8")
    first = lines_of(write(several, tmp_path / "texts", "--texts")[0])[0]
    assert first["input"]["raw"] == f"{TEXT}\nsecond"
    label = first["input"]["reference"][0]
    assert first["sample_hash"] == hashlib.sha256(f"{TEXT}\nsecond{label}".encode()).hexdigest()

    without = make_page_results(tmp_path / "without")
    command = ["report", without, "--format", "eee", "--out", str(tmp_path / "o"), "--texts"]
    assert main(command) == BAD_INPUT
    assert "keeps no texts (storage.keep_texts); omit --texts" in capsys.readouterr().err


def test_failed_and_missing_runs_are_counted(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(["a", "b"]))
    table = predictions(["x", "y"], [0, 1], [0.25, 0.75])
    save_done(results, "a", "ja16", 0, {"f1": 1.0, "auroc": 1.0, "accuracy": 1.0},
              predictions=table)  # fmt: skip
    save_failed(results, "a", "ja16", 1, "/secret/place is full")
    (file,) = write(results.uri, tmp_path / "out")
    record = json.loads(file.read_text())
    mean = scores_of(record)["ja/f1/mean"]
    assert (mean["details"]["num_runs"], mean["details"]["num_planned_runs"]) == ("1", "3")
    assert "/secret/place" not in file.read_text()
    assert record["model_info"]["id"] == "local/a-ja16"
    assert record["source_metadata"]["source_organization_name"] == "not named"


def test_every_test_language_and_more_classes_have_results(tmp_path: Path) -> None:
    langs = ("en", "ja", "de")
    results = make_results(tmp_path / "r", make_lang_plan(langs=langs))
    rng = np.random.default_rng(0)
    save_langs(results, "a", "ja0", simulate_langs(rng, dict.fromkeys(langs, 2.0)))
    (file,) = write(results.uri, tmp_path / "out")
    found = scores_of(json.loads(file.read_text()))
    assert {name.split("/")[0] for name in found} == {*langs}
    assert len(lines_of(file)) == 3 * 3 * 60
    (file,) = write(results.uri, tmp_path / "de", "--test-lang", "de")
    assert {name.split("/")[0] for name in scores_of(json.loads(file.read_text()))} == {"de"}

    many = make_results(tmp_path / "m", make_plan(["a"], classes=("x", "y", "z")))
    cell = simulate_classes(rng, 3, 60, 3, 1.0, 0.1)
    for seed, y_score in enumerate(cell.scores):
        table = predictions(cell.ids, cell.y_true.tolist(), y_score.tolist())
        values = score(cell.y_true, y_score)
        save_done(many, "a", "ja16", seed, values, predictions=table)
    (file,) = write(many.uri, tmp_path / "classes")
    line = lines_of(file)[0]
    assert line["input"]["choices"] == ["x", "y", "z"]
    assert {"p(x)", "p(y)", "p(z)"} <= {*line["metadata"]}


def test_what_is_refused(several: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*options: str) -> str:
        assert main(["report", several, *options]) == BAD_INPUT
        return capsys.readouterr().err

    eee = ("--format", "eee")
    assert "eee is a folder: give --out FOLDER, e.g. --out records" in told(*eee)
    out = ("--out", str(tmp_path / "o"))
    assert "as they are; omit --prevalence" in told(*eee, *out, "--prevalence", "0.02")
    assert "--metrics is for tables" in told(*eee, *out, "--metrics", "f1")
    assert "are for --format eee" in told("--texts")
    (tmp_path / "file").touch()
    assert "cannot be written" in told(*eee, "--out", str(tmp_path / "file"))
    empty = make_results(tmp_path / "e", make_plan())
    assert main(["report", empty.uri, *eee, *out]) == BAD_INPUT
    assert "no run is done, so there is nothing to write" in capsys.readouterr().err


@pytest.mark.exits
def test_the_validator_of_the_format_accepts_every_file(several: str, tmp_path: Path) -> None:
    from every_eval_ever.validator.validate import main as validate

    files = write(several, tmp_path / "out")
    write(several, tmp_path / "out", "--texts", "--organization", "my-lab")
    samples = [str(file) for file in (tmp_path / "out").rglob("*.jsonl")]
    assert len(samples) == 8
    assert validate([*map(str, sorted((tmp_path / "out").rglob("*.json"))), *samples]) == 0
    record = json.loads(files[0].read_text())
    files[0].write_text(json.dumps(record | {"more": 1}))  # and it can refuse
    assert validate([str(files[0])]) == 1
