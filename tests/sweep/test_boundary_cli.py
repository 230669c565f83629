"""xlt boundary and xlt claims from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from boundary_results import predictions, train_rows
from result_folders import make_plan, make_results, save_done

from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main


@pytest.fixture
def results(tmp_path: Path) -> str:
    location = make_results(tmp_path / "results", make_plan(patterns=["ja0", "ja104"]))
    for pattern, shift in (("ja0", 3.0), ("ja104", 0.0)):
        for seed in range(3):
            save_done(
                location, "elyza", pattern, seed, {"f1": 0.9 - 0.1 * shift - 0.01 * seed},
                predictions=predictions(seed, shift=shift),
                train_rows=train_rows(int(pattern.removeprefix("ja"))), num_threads=seed,
            )  # fmt: skip
    return str(location.root)


def test_boundary_prints_a_verdict_a_cell(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["boundary", results, "--labelled", "16", "--prior", "0.5", "--margin", "0.02"]) == OK
    )
    out = capsys.readouterr().out
    assert re.search(r"^elyza +ja0 .* threshold is off$", out, re.MULTILINE)
    assert "both losses are below 0.02." in out
    assert "F1@prior" in out
    assert "F1 with a threshold chosen on N labelled test rows, scored on the others." in out


def test_csv_has_warnings_apart(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("boundary", "claims"):
        assert main([command, results, "--format", "csv"]) == OK
        told = capsys.readouterr()
        assert "num_threads" in told.err and "num_threads" not in told.out


def test_claims_of_the_paper_and_of_a_file(
    results: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", results, "--published"]) == OK
    out = capsys.readouterr().out
    assert "1b is not evaluated: mbert/ja0: unknown base model 'mbert'. Known: elyza; " in out
    assert "Differences to the published values" in out
    file = tmp_path / "mine.yaml"
    file.write_text(
        "title: Mine\nclaims:\n"
        "- {id: a, says: more rows help, parts: [{metric: f1, first: elyza/ja104,"
        " direction: greater, second: elyza/ja0, margin: 0.1}]}\n"
    )
    assert main(["claims", results, "--claims", str(file)]) == OK
    assert "a: more rows help" in capsys.readouterr().out
    assert main(["claims", results, "--claims", str(file), "--only", "pattern=ja104"]) == OK
    assert "a is not evaluated: elyza/ja0: unknown pattern 'ja0'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["boundary", "--format", "tex"],
            "unknown format 'tex'. Did you mean 'text'? Known: csv, latex, md, text",
        ),
        (["boundary", "--prior", "2"], "prior 2.0 is not a share"),
        (["boundary", "--margin", "0"], "margin 0 is not a loss between 0 and 1, e.g. 0.03"),
        (["boundary", "--labelled", "511"], "511 labelled rows of 512"),
        (["boundary", "--reference", "ja9"], "unknown pattern 'ja9'"),
        (["boundary", "--experiment", "other"], "unknown experiment 'other'"),
        (["claims", "--claims", "mine"], "mine: is no .yaml file"),
        (["claims", "--claims", "/nowhere/mine.yaml"], "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(
    results: str, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = arguments
    assert main([command, results, *options]) == BAD_INPUT
    assert told in capsys.readouterr().err
