"""Test languages on data in the forms of SIB-200 (each text in every language) and MultiFin."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub_folders import MULTIFIN_COUNTS, SIB_COUNTS, write_multifin, write_whole_sib200
from sklearn.metrics import f1_score, roc_auc_score

from xlt.sweep.cli.main import main
from xlt.trainables.results.result import Results

pytestmark = pytest.mark.usefixtures("offline")
SIB_WORDS = {"eng_Latn": "alpha beta", "jpn_Jpan": "いろ はに", "deu_Latn": "eins zwei",
             "swh_Latn": "moja mbili"}  # fmt: skip


def run(
    folder: Path, preset: str, languages: list[str], patterns: list[str], num_rows: int
) -> Path:
    """Run n-grams on all languages of a data set of several classes."""
    values = {
        "name": preset,
        "task": {"source_lang": "English"},
        "data": {"source": "hub", "preset": preset, "dataset": str(folder / preset),
                 "languages": languages, "leak_check": False},
        "models": [{"name": "grams", "method": "ngram"}],
        "patterns": [{name: {"source_rows": 140}} for name in patterns],
        "seeds": [0, 1],
        "draws": "per_seed",
        "sampling": {"test_rows": num_rows, "test_langs": "all"},
        "accept_findings": ["cues", "language", "near_duplicates", "duplicates", "text"],
    }  # fmt: skip
    (folder / "experiment.yaml").write_text(yaml.safe_dump(values))
    words = [str(folder / "experiment.yaml"), "--results", str(folder / "r")]
    assert main(["run", *words, "--backend", "inline"]) == 0
    return Results(str(folder / "r"))


def test_sib200(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_whole_sib200(tmp_path / "sib200", SIB_WORDS)
    languages = ["en", "ja", "German", "swh_Latn"]
    results = run(tmp_path, "sib200", languages, ["ja0", "de0", "ja14"], 210)
    records = [results.state(trial_id).record or {} for trial_id in results.trial_ids()]
    assert len(records) == 4  # ja0 and de0 are one training
    for record in records:
        rows = results.read_table(record["trial_id"], "predictions").to_pylist()
        assert record["test_rows_by_lang"] == dict.fromkeys(("ja", "de", "en", "sw"), 210)
        stories = {lang: set[str]() for lang in record["test_rows_by_lang"]}
        for row in rows:
            stories[row["lang"]].add(row["id"].partition("/")[2])
        assert len({frozenset(numbers) for numbers in stories.values()}) == 1
        trained = results.read_table(record["trial_id"], "train_rows")["id"].to_pylist()
        assert not stories["en"] & {row_id.partition("/")[2] for row_id in trained}
        for lang, metrics in record["metrics_by_lang"].items():
            own = [row for row in rows if row["lang"] == lang]
            truth, scores = (np.array([row[name] for row in own]) for name in ("y_true", "y_score"))
            assert Counter(truth.tolist()) == dict.fromkeys(range(len(SIB_COUNTS)), 30)
            decided = scores.argmax(axis=1)
            macro = f1_score(truth, decided, average="macro", zero_division=0.0)
            assert metrics["macro_f1"] == pytest.approx(macro, abs=1e-12)
            ranked = roc_auc_score(truth, scores, multi_class="ovr", average="macro")
            assert metrics["auroc_ovr"] == pytest.approx(ranked, abs=1e-9)
    capsys.readouterr()
    assert main(["report", results.uri, "--intervals", "--test-lang", "Swahili"]) == 0
    text = capsys.readouterr().out
    assert "Tested in sw." in text and "[" in text.partition("grams")[2]


def test_multifin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """230 Japanese rows of six classes cannot give 512 test rows; 6 x 22 of them can be drawn."""
    write_multifin(tmp_path / "multifin")
    results = run(tmp_path, "multifin", ["en", "ja", "pl"], ["ja0"], 512)
    assert main(["plan", str(tmp_path / "experiment.yaml"), "--results", results.uri]) == 0
    told = capsys.readouterr().out
    assert (
        "Tested in 3 languages (ja, en, pl) on 908 rows; fewer than 512 in ja (132), pl (264)"
        in told
    )
    (trial_id, _) = results.trial_ids()
    record = results.state(trial_id).record or {}
    fewest = min(MULTIFIN_COUNTS.values())
    assert record["test_rows_by_lang"] == {"ja": 6 * fewest, "en": 512, "pl": 12 * fewest}
