"""Trained classifiers that are asked about texts of LIT's editor, without LIT."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xlt.analysis.lit_export import LitExport, lit_export
from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.errors import InputError
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.lit import live
from xlt.sweep.lit.live import LiveTrials
from xlt.sweep.run import run_sweep
from xlt.trainables.inference.live import LiveTrial
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

SETTINGS = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]", "storage.keep_models=all"]
EXPLAIN = "explain={method: lime, num_samples: 30, rows: 5}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: Any, experiment_file: Path) -> Collected:
    """Three trials that kept their models; five test rows of each are explained."""
    results = str(tmp_path_factory.mktemp("live") / "results")
    experiment = load_experiment(experiment_file, [*SETTINGS, EXPLAIN])
    run_sweep(experiment, results, backend="inline", console=Console(file=io.StringIO()))
    return collect(results)


@pytest.fixture(scope="module")
def trials(kept: Collected) -> LiveTrials:
    return LiveTrials(kept, lit_export(kept))


def ids_of(kept: Collected) -> dict[str, str]:
    return {row["base_model"]: row["trial_id"] for row in kept.table.to_pylist()}


def ask(trials: LiveTrials, **request: Any) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = json.loads(trials.answer(json.dumps(request).encode()))
    return answer


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "bert"])
def test_test_rows_get_what_the_trial_said_of_them(
    kept: Collected, trials: LiveTrials, name: str
) -> None:
    trial = ids_of(kept)[name]
    table = read_attributions(Results(kept.uri), trial, "lime").table
    assert table is not None
    stored = table.to_pylist()
    texts = [row["text"] for row in stored]
    scores = [
        ask(trials, ask="score", trial_id=trial, text=text)["probabilities"][0] for text in texts
    ]
    rows = kept.predictions.of(trial)
    expected = dict(zip(rows.ids, rows.y_score.tolist(), strict=True))
    assert [p for _, p in scores] == pytest.approx(
        [expected[row["id"]] for row in stored], abs=1e-6
    )
    assert [sum(pair) for pair in scores] == pytest.approx([1] * len(stored))
    made = ask(trials, ask="subwords", trial_id=trial, text=texts[0])
    own = [made["token_ids"][number] for number in made["positions"]]
    assert (own, made["pieces"]) == (stored[0]["token_ids"], stored[0]["pieces"])
    hidden = list(made["token_ids"])
    for number in made["positions"]:
        hidden[number] = made["hidden_as"]
    asked = {"ask": "score_token_ids", "trial_id": trial, "token_ids": [made["token_ids"], hidden]}
    assert [p for _, p in ask(trials, **asked)["probabilities"]] == pytest.approx(
        [stored[0]["p_original"], stored[0]["p_masked"]], abs=1e-6
    )


def test_edited_texts_are_explained_as_the_trial_was(kept: Collected, trials: LiveTrials) -> None:
    trial = ids_of(kept)["bert"]
    made = ask(trials, ask="explain", trial_id=trial, text="3 炭素 得点 12")
    spec = TrialSpec.parse(kept.records[trial]["spec"])
    alone = LiveTrial(spec, Results(kept.uri))
    expected = alone.explain(("3 炭素 得点 12", None), Explain(num_samples=30))
    assert made == asdict(expected)
    other = alone.explain(("3 炭素 得点 12", None), Explain(num_samples=40))
    assert expected.salience != other.salience


def test_trials_without_attributions_are_explained_on_request(kept: Collected) -> None:
    otherwise = Explain(method="occlusion")
    export = lit_export(kept, method="occlusion", otherwise=otherwise)
    assert export.manifest["notes"] == []
    trial = ids_of(kept)["llama"]
    made = ask(LiveTrials(kept, export), ask="explain", trial_id=trial, text="3 炭素 得点 12")
    alone = LiveTrial(TrialSpec.parse(kept.records[trial]["spec"]), Results(kept.uri))
    assert made == asdict(alone.explain(("3 炭素 得点 12", None), otherwise))


def test_texts_without_tokens_are_told(kept: Collected, trials: LiveTrials) -> None:
    for question in ("subwords", "explain"):
        answer = ask(trials, ask=question, trial_id=ids_of(kept)["llama"], text="")
        assert "have no tokens" in answer["error"]


def test_pairs_have_two_fields(kept: Collected, trials: LiveTrials) -> None:
    spec = TrialSpec.parse(kept.records[ids_of(kept)["bert"]]["spec"])
    alone = LiveTrial(spec, Results(kept.uri))
    pair = ("3 炭素", "得点 12")
    found = alone.split_text(pair)
    separator = alone._base.tokenizer.sep_token_id
    assert found.token_ids.count(separator) == 2 and "得点" in "".join(found.pieces)
    assert (found.segments[0], found.segments[-1]) == (0, 1)
    made = alone.explain(pair, Explain(num_samples=30))
    assert (made.tokens, made.segments) == (found.pieces, found.segments)
    assert alone.score_texts([pair]) != alone.score_texts([("3 炭素 得点 12", None)])


def test_the_one_asked_longest_ago_makes_room(
    kept: Collected, trials: LiveTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 1)
    for trial in ids_of(kept).values():
        assert ask(trials, ask="score", trial_id=trial, text="3")["probabilities"]
        assert list(trials._loaded) == [trial]


def test_other_weights_are_refused(kept: Collected) -> None:
    """The wrong text stands for a wrong model: scores are not those that the trial wrote."""
    export = lit_export(kept)
    files = {
        name: [{**row, "text": "炭素 廃棄物"} for row in rows] if "headlines" in name else rows
        for name, rows in export.files.items()
    }
    with pytest.raises(InputError, match="scores differ from the trial's by up to"):
        LiveTrials(kept, LitExport(export.manifest, files))
