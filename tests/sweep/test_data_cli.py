"""xlt data, and the gate before plans and launches."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT
from tiny_data import make_dataset
from tokenizers import Tokenizer

from xlt.analysis.boundary.measure import boundary
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.runs import MetricRuns
from xlt.sweep.cli.main import main
from xlt.sweep.planning import gate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows, a source's file and an experiment's; the working directory."""
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pq.write_table(rows_without_cues(), tmp_path / "rows.parquet")
    source: dict[str, Any] = {"source": "table", "positive": ["1"]}
    source["path"] = str(tmp_path / "rows.parquet")
    source["leak_check"] = False  # a word of the tests' texts tells the label
    write(tmp_path / "source.yaml", source)
    return tmp_path


def rows_without_cues() -> pa.Table:
    """Rows of the tests with other ids: theirs are odd for positive rows."""
    table = make_dataset(num_rows=200).table
    numbers = np.random.default_rng(0).permutation(len(table))
    return table.set_column(0, table.schema.field(0), [[f"r{number}" for number in numbers]])


def write(file: Path, values: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), "utf-8")


def experiment(folder: Path, model: Path, **changes: Any) -> str:
    values = {
        "name": "small",
        "data": {"source": "prepared", "path": str(folder / "prepared")},
        "models": [{"name": "bert", "path": str(model), "method": "full", "learning_rate": 0.001}],
        "patterns": [{"ja8": {"source_rows": 24}}],
        "seeds": [0],
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 1},
        **changes,
    }
    write(folder / "small.yaml", values)
    return str(folder / "small.yaml")


def test_token_lengths_have_neither_padding_nor_the_cut_of_a_tokenizer_file(
    folder: Path, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some published tokenizer.json files pad each text to 128 tokens and cut longer ones."""
    model = shutil.copytree(tiny_base("bert"), folder / "model")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    rows = rows_without_cues().filter(pc.field("lang") == "en")
    lengths = [len(tokenizer.encode(text).ids) for text in rows["text"].to_pylist()]
    assert max(lengths) > 7
    tokenizer.enable_padding(length=128, pad_token="[PAD]")
    tokenizer.enable_truncation(7)
    tokenizer.save(str(model / "tokenizer.json"))
    assert main(["data", "show", "source.yaml", "--model", "model"]) == 0
    table = capsys.readouterr().out.partition("tokens a text")[2].split()
    least, _, _, most = table[table.index("en") + 1 :][:4]
    assert (int(least), int(most)) == (min(lengths), max(lengths))


def test_prepare_show_audit_plan_and_run(
    folder: Path, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "prepare", "source.yaml", "--out", "prepared"]) == 0
    told = capsys.readouterr().out
    assert "read 400 = kept 400 + dropped 0 + rejected 0" in told
    assert f"data: {{source: prepared, path: {folder / 'prepared'}}}" in told
    model = str(tiny_base("bert"))
    assert main(["data", "show", "prepared", "--model", model]) == 0
    shown = capsys.readouterr().out
    assert "200 balanced source rows, or ja" not in shown  # 512 test rows are too many
    assert "too few for a test of 512" in shown
    assert f"{model} tokens a text" in shown
    assert main(["data", "audit", "prepared"]) == 0
    assert "0 errors" in capsys.readouterr().out
    file = experiment(folder, tiny_base("bert"))
    assert main(["data", "show", file]) == 0
    assert "ja180 with 20 test rows" in capsys.readouterr().out
    assert main(["plan", file]) == 0
    assert "Data checked: 0 error, 0 warning" in capsys.readouterr().out
    assert main(["run", file, "--backend", "inline", "--results", "results"]) == 0


def rows_dated_by_label() -> pa.Table:
    table = rows_without_cues()
    days = [
        datetime.date(2022, 1, 1) + datetime.timedelta(label * 200 + number % 50)
        for number, label in enumerate(table["label"].to_pylist())
    ]
    place = table.schema.get_field_index("published")
    field = table.schema.field(place)
    return table.set_column(place, field, [days])


def test_errors_stop_a_launch_unless_they_are_accepted_and_then_stand_in_the_tables(
    folder: Path, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(rows_dated_by_label(), folder / "rows.parquet")
    columns = {"columns": {"published": "published"}}
    source = yaml.safe_load((folder / "source.yaml").read_text())
    write(folder / "source.yaml", source | columns)
    assert main(["data", "prepare", "source.yaml", "--out", "prepared"]) == 0
    assert main(["data", "audit", "source.yaml"]) == 3
    assert "ERROR cues: " in capsys.readouterr().out
    file = experiment(folder, tiny_base("bert"))
    arguments = ["run", file, "--backend", "inline", "--results", "results"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "cues: " in told
    assert "set accept_findings: [cues]" in told
    assert not (folder / "results" / "trials").exists()
    assert main([*arguments, "--set", "accept_findings=[cues]"]) == 0
    assert "Warning: data, cues: " in capsys.readouterr().out
    assert any(w.startswith("data, cues: ") for w in collect("results").warnings)
    assert main(["plan", file, "--set", "accept_findings=[cues]"]) == 0
    assert "error (accepted), cues: " in capsys.readouterr().out


def test_findings_are_remembered_by_data_and_draws(
    folder: Path, tiny_base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["data", "prepare", "source.yaml", "--out", "prepared"])
    file = experiment(folder, tiny_base("bert"))

    def remembered() -> list[Path]:
        return list((folder / "cache").rglob("*.findings"))

    assert main(["plan", file]) == 0
    (first,) = remembered()
    monkeypatch.setattr("xlt.sweep.planning.gate.audit", lambda *_: pytest.fail("audited again"))
    assert main(["plan", file, "--set", "training.num_train_epochs=2"]) == 0
    monkeypatch.setattr("xlt.sweep.planning.gate.audit", lambda *_: ())
    assert main(["plan", file, "--set", "sampling.draw_seed=1"]) == 0
    assert len(remembered()) == 2
    monkeypatch.undo()
    monkeypatch.setenv("XLT_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)
    kept = first.read_bytes()
    for damage in (b"", kept[:-1], b"{}"):
        first.write_bytes(damage)
        assert main(["plan", file]) == 0
        assert first.read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data", "prepare", "nowhere.yaml", "--out", "x"], "cannot be read"),
        (["data", "prepare", "source.yaml", "--set", "source=tabel", "--out", "x"], "Did you mean"),
        (["data", "prepare", "source.yaml", "--out", "."], "holds other files"),
        (["data", "prepare", "source.yaml", "--out", "rows.parquet"], "cannot be used: "),
        (["data", "prepare", "source.yaml", "--out", "/proc/x"], "cannot be written: "),
        (["data", "prepare", "source.yaml", "--out", "x", "--address", "auto"], "only the source"),
        (["data", "show", "nowhere"], "is neither a prepared data set"),
        (["data", "show", "source.yaml", "--model", "mini-mbert"], "when it is pre-trained"),
        (["data", "show", "source.yaml", "--model", "./no"], "the tokenizer of './no' cannot be"),
        (["data", "audit", "."], "has no manifest.json"),
        (["plan", "quickstart", "--set", "accept_findings=[cue]"], "Did you mean 'cues'"),
    ],
)
def test_bad_input_is_one_error(
    arguments: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_more_classes_pairs_and_languages_run_through_the_whole_grid(
    folder: Path, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for row in make_dataset(num_rows=240).table.to_pylist():
        number = int(row["id"][2:])
        topic = ("markets", "sport", "waste")[number % 3]
        for lang in ("en", "ja", "de") if row["lang"] == "en" else ():
            text = f"{number} {topic if number % 7 else 'news'} {lang} {'abc'[number % 3]}"
            rows.append(f"{lang}{number}\t{text}\tis it {number}\t{lang}\t{topic}\tn{number}")
    header = "id\ttext\tclaim\tlang\tlabel\tevent"
    (folder / "rows.tsv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    source = {
        "source": "table", "path": str(folder / "rows.tsv"),
        "classes": ["markets", "sport", "waste"],
        "columns": {"text_pair": "claim", "story": "event"},
    }  # fmt: skip
    file = experiment(
        folder,
        tiny_base("bert"),
        data=source,
        patterns=[{f"{lang}9": {"source_rows": 30}} for lang in ("ja", "de")],
        sampling={"test_rows": 30},
        accept_findings=["language"],
    )
    assert main(["run", file, "--backend", "inline", "--results", "results"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Target language ja.") == shown.count("Target language de.") == 2
    assert "classes markets, sport, waste" in shown
    collected = collect("results")
    assert collected.metrics == ("macro_f1", "auroc_ovr", "accuracy")
    assert main(["report", "results", "--format", "csv"]) == 0
    assert "bert,de9,macro_f1,0." in capsys.readouterr().out
    scores = load_scores(collected)
    assert scores.left_out == {} and scores.num_classes == 3
    for key, cell in scores.cells.items():
        runs = [row.metrics for row in collected.by_cell[key]]
        for metric in collected.metrics:
            values = MetricRuns(metric, num_classes=3).of(cell).values
            assert values == pytest.approx([run[metric] for run in runs], abs=1e-12)
    assert main(["report", "results", "--intervals"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("[low, high]: 95 % interval") == 4 and "No interval" not in shown
    assert "Carried over: No cell was trained without" in shown
    assert main(["report", "results", "--format", "html", "--out", "page.html"]) == 0
    pair = "bert/ja9:bert/de9"  # tested on different rows
    assert main(["compare", "results", "--pairs", pair]) == 2
    assert "not tested on the same rows" in capsys.readouterr().err
    assert main(["curves", "results"]) == 0
    assert "one-vs-rest AUROC" in capsys.readouterr().out
    assert main(["boundary", "results"]) == 0
    shown = capsys.readouterr().out
    assert "Ranking and weights" in shown and "estimated shares" in shown
    cells = boundary(collected)
    assert all(cell.measures["macro_f1_estimated"].n for cell in cells)
    assert main(["boundary", "results", "--prior", "0.5"]) == 2
    assert "prior and labelled are of two classes" in capsys.readouterr().err


def test_a_plan_needs_no_package_of_an_optional_group() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {re.split(r"[\[<>=]", line)[0] for line in project["project"]["dependencies"]}
    assert set(gate.DEPENDENCIES) <= needed
    optional = ("datasets", "matplotlib", "datasketch", "playwright", "accelerate", "psutil")
    code = (
        f"import sys; sys.modules |= dict.fromkeys({optional!r}); "
        "from xlt.sweep.cli.main import main; sys.exit(main(['plan', 'quickstart']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Data checked: 0 error" in done.stdout
