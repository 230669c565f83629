"""xlt export: a folder for transformers with a card, and its upload."""

from __future__ import annotations

import json
import platform
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
import yaml
from hub_server import Hub
from huggingface_hub import ModelCard, constants, parse_eval_result_entries
from kept_models import run_kept
from tiny_data import make_dataset

from xlt.analysis.metrics.operating_points import choose_threshold, parse_rule
from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.files import to_json
from xlt.sweep.cli.main import main
from xlt.sweep.export.choose import choose_run
from xlt.trainables.results.best_model import HOW_CHOSEN
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import seal_record

TOKEN = "hf_canaryCANARYcanary0123"
HOST = "canary-host-name"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, experiment_file: Path) -> str:
    """Three seeds of llama and gpt_neox (LoRA) and of bert (full), all with their models."""
    folder = tmp_path_factory.mktemp("kept") / "results"
    return run_kept(experiment_file, folder, "seeds=[0, 1, 2]", "storage.keep_models=all")


@pytest.fixture
def some(kept: str, tmp_path: Path) -> Path:
    """A copy of these results, to change."""
    return Path(shutil.copytree(kept, tmp_path / "some"))


def xlt(results: str | Path, out: Path, *options: str, model: str = "llama") -> int:
    names = ["--model", model, "--pattern", "ja8", "--out", str(out)]
    return main(["export", str(results), *names, *options])


def cell_of(results: str | Path, model: str = "llama") -> Collected:
    return collect(str(results), only=f"model={model},pattern=ja8")


def scores_of(folder: Path) -> dict[str, float]:
    """Row id -> score of class 1, by a plain pipeline."""
    pipe = transformers.pipeline("text-classification", str(folder), top_k=None)
    rows = make_dataset().table.to_pylist()
    found = pipe([row["text"] for row in rows], batch_size=16, truncation=True)
    news = [{c["label"]: c["score"] for c in classes}["news"] for classes in found]
    return {row["id"]: score for row, score in zip(rows, news, strict=True)}


@pytest.mark.parametrize(
    ("model", "options", "form"),
    [
        ("bert", [], "full"),
        ("llama", [], "adapter and base"),
        ("llama", ["--merge"], "merged"),
    ],
)
def test_a_folder_scores_as_its_trial_and_says_what_it_is(
    model: str, options: list[str], form: str, kept: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for source in (socket, "gethostname"), (platform, "node"):
        monkeypatch.setattr(*source, lambda: HOST)
    out = tmp_path / "out"
    assert xlt(kept, out, "--seed", "1", *options, model=model) == 0
    shown = capsys.readouterr().out
    assert f"Weights: {form}; loaded by transformers they score as the trial up to" in shown
    assert "(largest difference on 20 test rows)" in shown
    trial = find_trial(kept, model=model, pattern="ja8", seed=1)
    written = Results(kept).read_table(trial.trial_id, "predictions")
    scores = scores_of(out)
    np.testing.assert_allclose(
        [scores[name] for name in written["id"].to_pylist()], written["y_score"], atol=1e-5
    )

    about = json.loads((out / "xlt_export.json").read_text())
    assert about["trial_id"] == trial.trial_id
    assert about["largest_difference"] < 1e-5
    assert (about["threshold"], about["classes"]) == (0.5, ["not news", "news"])
    card = ModelCard.load(out / "README.md")
    auroc = [row.metrics["auroc"] for row in cell_of(kept, model).rows]
    mean, std = f"{np.mean(auroc):.3f}", f"{np.std(auroc, ddof=1):.3f}"
    assert f"| ja | AUROC | {mean} ({std}) | [" in card.text
    assert f"| 3 of 3 | {auroc[1]:.3f} |" in card.text
    assert "| train | en | 12 | 12 |" in card.text
    assert "| test | ja | 10 | 10 |" in card.text
    assert "This is seed 1 of its cell; seed 1 was asked for." in card.text
    assert trial.spec.data_fingerprint in card.text
    command = f"xlt export RESULTS --model {model} --pattern ja8 --seed 1"
    assert "\n".join([" ".join([command, *options, "--out FOLDER"]), "```"]) in card.text
    assert ("merged classifier, loaded by" in card.text) == (form == "merged")
    (result,) = [r for r in card.data.eval_results or () if r.metric_type == "roc_auc"]
    assert result.metric_value == pytest.approx(np.mean(auroc), abs=1e-6)
    assert card.data.language == ["en", "ja"]

    texts = [row["text"] for row in make_dataset().table.to_pylist()]
    for file in filter(Path.is_file, out.rglob("*")):
        content = file.read_bytes()
        for canary in (kept, str(tmp_path), HOST, TOKEN, trial.spec.base_path):
            assert canary.encode() not in content, (file.name, canary)
        assert not [text for text in texts if text.encode() in content], file.name


def test_the_threshold_is_that_of_predict(kept: str, tmp_path: Path) -> None:
    rule = ("--threshold", "precision=0.5", "--prevalence", "0.2", "--seed", "0")
    assert xlt(kept, tmp_path / "out", *rule) == 0
    trial = find_trial(kept, model="llama", pattern="ja8", seed=0)
    test = Results(kept).read_table(trial.trial_id, "predictions")
    parsed = parse_rule("precision=0.5")
    assert parsed
    value = choose_threshold(parsed, test["y_true"].to_numpy(), test["y_score"].to_numpy(), 0.2)
    about = json.loads((tmp_path / "out" / "xlt_export.json").read_text())
    assert about["threshold"] == value
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"**{value:.6g}**" in card
    assert "This threshold was chosen for precision=0.5 at 20 %" in card


def with_scores(collected: Collected, *auroc: float | None) -> Collected:
    rows = [
        replace(row, metrics={} if score is None else {"auroc": score})
        for row, score in zip(collected.rows, auroc, strict=True)
    ]
    return replace(collected, rows=tuple(rows))


def test_the_run_near_the_median_is_exported_never_the_best(kept: str) -> None:
    cell = cell_of(kept)
    for auroc, seed in (
        ((0.9, 0.5, 0.8), 2), ((0.5, 0.9, 0.5), 0), ((0.9, 0.9, 0.1), 0), ((0.7, None, 0.8), 0),
    ):  # fmt: skip
        chosen = choose_run(with_scores(cell, *auroc), None)
        assert chosen.row.seed == seed, auroc
        assert "nearest to the lower median" in chosen.why
    without = {name: {**record, "files": {}} for name, record in cell.records.items()}
    best, last = cell.rows[0].trial_id, cell.rows[2].trial_id
    records = {**without, best: cell.records[best], last: cell.records[last]}
    # Seeds 0 and 2 kept their models; the median is that of seed 1, and both are equally near.
    two = replace(with_scores(cell, 0.75, 0.5, 0.25), records=records)
    assert choose_run(two, None).row.seed == 2
    one = replace(cell, records={**without, best: cell.records[best]})
    assert choose_run(one, None).why == "it is the only run that kept its model"
    execution = {**cell.records[best]["execution"], "keep_models": "best"}
    one = replace(cell, records={**without, best: {**cell.records[best], "execution": execution}})
    assert choose_run(one, None).why == HOW_CHOSEN


def test_a_card_says_which_runs_failed_and_repeats_no_error(some: Path, tmp_path: Path) -> None:
    failed, missing = (find_trial(str(some), model="bert", pattern="ja8", seed=n) for n in (0, 2))
    shutil.rmtree(some / "trials" / failed.trial_id)
    shutil.rmtree(some / "trials" / missing.trial_id)
    Results(str(some)).save_failure(failed.spec, "disk /secret/place is full", "traceback")
    assert xlt(some, tmp_path / "out", model="bert") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1 of 3 planned runs are failed (seed 0) and in no mean." in card
    assert "1 of 3 planned runs are missing (seed 2) and in no mean." in card
    assert "| 1 of 3 |" in card
    assert "it is the only run that kept its model" in card
    assert "/secret/place" not in card
    assert "Source rows are in one language, en" in card
    assert "nothing is known about other languages" in card


def test_data_of_the_hub_get_their_own_entries(some: Path, tmp_path: Path) -> None:
    file = some / "experiments" / "tiny.yaml"
    values = yaml.safe_load(file.read_text())
    values["data"] = {"source": "hub", "dataset": "org/news", "revision": "abc"}
    file.write_text(yaml.safe_dump(values))
    assert xlt(some, tmp_path / "out", model="bert") == 0
    (name,) = (tmp_path / "out" / ".eval_results").iterdir()
    entries = parse_eval_result_entries(yaml.safe_load(name.read_text()))
    assert {(e.dataset_id, e.dataset_revision, e.task_id) for e in entries} == {
        ("org/news", "abc", "default")
    }
    assert [e.notes and e.notes.partition(" (")[0] for e in entries] == ["F1", "AUROC"]
    assert ModelCard.load(tmp_path / "out" / "README.md").data.datasets == ["org/news"]


def test_what_is_refused(kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*options: str, model: str = "llama", out: Path = tmp_path / "out") -> str:
        assert xlt(kept, out, *options, model=model) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "unknown model 'lama'. Did you mean 'llama'?" in told(model="lama")
    assert "unknown pattern 'ja80'. Did you mean 'ja8'?" in told("--pattern", "ja80")
    assert "unknown seed '7'. Known: 0, 1, 2." in told("--seed", "7")
    assert "so a folder cannot hold it; give a number" in told("--threshold", "median")
    assert "--merge is for trials with an adapter" in told("--merge", model="bert")
    assert "is for --push ORG/NAME" in told("--public")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert "holds files; give a new or empty folder" in told(out=tmp_path / "full")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_a_trial_without_a_model(
    some: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def drop_models(model: str) -> None:
        results = Results(str(some))
        for seed in (0, 1, 2):
            trial = find_trial(str(some), model=model, pattern="ja8", seed=seed)
            file = some / "trials" / trial.trial_id / "trial.json"
            record = json.loads(file.read_text())
            record["files"] = {k: v for k, v in record["files"].items() if "model/" not in k}
            results.write(f"trials/{trial.trial_id}/trial.json", to_json(seal_record(record)))

    def told(model: str) -> str:
        assert xlt(some, tmp_path / "out", model=model) == 2
        return capsys.readouterr().err

    drop_models("bert")
    problem = told("bert")
    assert "bert x ja8: no such run kept its model; trials with a model: llama-ja8-s0-" in problem
    assert "and 3 more. To keep it" in problem
    assert "storage.keep_models=all" in problem
    drop_models("llama")
    drop_models("gpt_neox")
    assert "no trial here kept one. " in (problem := told("llama"))
    assert "storage.keep_models=adapters" in problem


def run_code(card: Path, text: str, place: str) -> dict[str, float]:
    """Run the Python code of a card on a text; label -> score."""
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    *lines, call = code.replace("FOLDER", place).replace("...", text).strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"shown = {call}"]), names)
    return {classes["label"]: classes["score"] for classes in names["shown"][0]}


def test_the_code_on_a_card_runs(
    kept: str, tmp_path: Path, experiment_file: Path, hub: Hub, pushing: Callable[[str], None]
) -> None:
    """The card of a complete folder, and of an adapter whose base model is on the hub."""
    values = yaml.safe_load(experiment_file.read_text())
    (model,) = (dict(m) for m in values["models"] if m["name"] == "llama")
    values["models"] = [model | {"path": "org/llama"}]
    file = tmp_path / "hub.yaml"
    file.write_text(yaml.safe_dump(values))
    of_hub = run_kept(file, tmp_path / "results", "storage.keep_models=adapters")
    text_of = {row["id"]: row["text"] for row in make_dataset().table.to_pylist()}
    for results, options in ((kept, ["--seed", "0"]), (of_hub, []), (of_hub, ["--push", "me/it"])):
        out = tmp_path / f"out{len(options)}{results == kept}"
        assert xlt(results, out, *options) == 0
        trial = find_trial(results, model="llama", pattern="ja8", seed=0)
        test = Results(results).read_table(trial.trial_id, "predictions").to_pylist()[0]
        scores = run_code(out / "README.md", text_of[test["id"]], str(out))
        assert scores["news"] == pytest.approx(test["y_score"], abs=1e-5)
        assert {*scores} == {"news", "not news"}
        assert (out / "config.json").exists() == (results == kept)
    card = ModelCard.load(out / "README.md")
    assert (card.data.base_model, card.data.library_name) == ("org/llama", "peft")
    assert "The adapter was trained on org/llama at revision" in card.text


@pytest.fixture
def pushing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A hub where one token may write to ``me``; the function sets another token or none."""
    hub.writers = {TOKEN: {"me"}}
    hub.new = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))

    def use(token: str) -> None:
        monkeypatch.setenv("HF_TOKEN", token)

    use(TOKEN)
    return use


def test_a_folder_is_uploaded_and_loads_from_the_hub(
    kept: str, tmp_path: Path, hub: Hub, pushing: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    assert xlt(kept, out, "--seed", "0", "--push", "me/mine") == 0
    shown = capsys.readouterr()
    assert f"Uploaded: {hub.endpoint}/me/mine/commit/" in shown.out
    assert hub.private == {"me/mine"}
    served = hub.folders["me/mine"]
    files = {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()}
    for name, content in files.items():
        assert (served / name).read_bytes() == content
        assert TOKEN.encode() not in content
    assert TOKEN not in shown.out + shown.err
    assert 'pipeline("text-classification", "me/mine")' in (out / "README.md").read_text()
    pipe = transformers.pipeline("text-classification", "me/mine", top_k=None)
    text = make_dataset().table["text"][0].as_py()
    expected = transformers.pipeline("text-classification", str(out), top_k=None)([text])
    assert pipe([text]) == expected

    # Once more with the other kind, and beside files of others.
    assert xlt(kept, tmp_path / "b", "--seed", "0", "--push", "me/mine", "--public") == 2
    assert "me/mine: exists and is private; leave out --public" in capsys.readouterr().err
    (served / "notes.md").touch()
    assert xlt(kept, tmp_path / "c", "--seed", "0", "--push", "me/mine") == 2
    assert "holds other files (notes.md), with which the model may not" in capsys.readouterr().err
    assert hub.commits == {"me/mine": 1}
    assert xlt(kept, tmp_path / "d", "--seed", "0", "--push", "me/open", "--public") == 0
    assert hub.private == {"me/mine"}


def test_an_upload_that_is_refused(
    kept: str, tmp_path: Path, hub: Hub, pushing: Callable[[str], None],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def told(name: str) -> str:
        assert xlt(kept, tmp_path / "out", "--push", name) == 2
        assert not (tmp_path / "out").exists()
        shown = capsys.readouterr()
        assert TOKEN not in shown.out + shown.err and "hf_other" not in shown.out + shown.err
        return shown.err

    assert "is no name of a repository; write ORG/NAME" in told("mine")
    assert "no right to write there (status 403)" in told("them/mine")
    pushing("hf_otherotherother")
    assert "no right to write there (status 403)" in told("me/mine")
    pushing("")
    assert "me/mine: the hub asks who you are; give a token with write access" in told("me/mine")
    pushing(TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached (ConnectError)" in told("me/mine")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids uploads" in told("me/mine")
    assert hub.commits == {}
