"""`xlt lit serve --live`: the real LIT asks the classifiers that trials kept, in Chromium."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium
from served_lit import (
    Served,
    edited,
    environment,
    post,
    results,
    shown,
)
from waiting import wait_for

from xlt.analysis.trials.collect import collect
from xlt.sweep.cli.main import main
from xlt.sweep.lit.server import serve
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.explain.tokens import find_replacement_id, find_special_ids
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import predict

__all__ = ["environment", "results"]  # fixtures

pytestmark = [pytest.mark.lit, needs_chromium]

MODELS = ("llama", "gpt_neox", "bert")


@pytest.fixture(scope="module")
def live(results: str, environment: Path, tmp_path_factory: Any) -> Iterator[Served]:
    made = Served(results, environment, tmp_path_factory.mktemp("live"), "--live")
    yield made
    assert made.end(signal.SIGINT) == 0
    assert not made.answers()


def kept(results: str, name: str) -> tuple[TrialSpec, Any, Any]:
    """A trial's settings, base model and trained classifier."""
    trials = {row["base_model"]: row["trial_id"] for row in collect(results).table.to_pylist()}
    location = Results(results)
    spec = location.read_spec(trials[name])
    return spec, *load_kept_model(spec, location, 2)


def score(results: str, name: str, text: str) -> float:
    """What a trial's classifier says of a text, without the way through LIT."""
    spec, base, model = kept(results, name)
    return float(predict(model, base.tokenizer([text])["input_ids"], spec)[0])


def address(model: str, **more: str) -> str:
    query = {"model": f"{model} ja8 seed 0", "dataset_name": "test rows (ja)", **more}
    return "&".join(f"{name}={urllib.request.quote(value)}" for name, value in query.items())


def test_an_edit_changes_score_and_contributions(
    browser: Any, live: Served, results: str, tmp_path: Path
) -> None:
    wrong: list[str] = []
    tab = browser.new_page(viewport={"width": 1600, "height": 1000})
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(live.url)
    tab.locator("data-table-module tbody tr").first.click()
    tab.get_by_text("Edit", exact=True).first.click()
    editor = tab.locator("datapoint-editor-module")
    field = editor.locator("textarea").nth(1)
    wait_for(lambda: field.count() and field.input_value())
    text = field.input_value()

    def told() -> list[float]:
        """The probability of the second class, a model each."""
        return [
            float(one)
            for one in tab.locator("classification-module score-bar .text").all_inner_texts()[1::2]
        ]

    def expected(of: str) -> list[float]:
        return [round(score(results, name, of), 3) for name in MODELS]

    before = expected(text)
    wait_for(lambda: told() == before)
    changed = f"{text} 気候 炭素"
    field.fill(changed)
    editor.get_by_text("Add", exact=True).click()
    after = expected(changed)
    assert after != before
    wait_for(lambda: told() == after)
    wait_for(lambda: [bool(one) for one in shown(tab)] == [True] * len(MODELS))
    for one in shown(tab):
        assert "".join(token.removeprefix("##") for token, _ in one) == changed.replace(" ", "")
    tab.wait_for_timeout(1000)
    folder = Path(os.environ.get("XLT_SCREENSHOTS", tmp_path))
    folder.mkdir(exist_ok=True)
    tab.screenshot(path=folder / "lit-live.png")
    tab.close()
    assert wrong == []


@pytest.mark.parametrize("name", MODELS)
def test_lits_lime_masks_sub_words(live: Served, results: str, name: str) -> None:
    """LIT's and ours, of 20,000 samples each, agree but for the chance of drawing."""
    text = "3 炭素 得点 12"
    config = {"Number of samples": "20000", "Kernel width": "256", "Seed": "1"}
    target = {"_salience_target": {"field": "probabilities", "index": 1}}
    path = address(name, interpreter="LIT's LIME on sub-words")
    (made,) = live.ask(f"get_interpretations?{path}", {**edited(text), "config": config | target})
    spec, base, model = kept(results, name)
    ids = base.tokenizer(text)["input_ids"]
    special = find_special_ids(base.tokenizer)
    (ours,) = explain_texts(
        make_target(model, spec).predict,
        [ids],
        hidden_as=find_replacement_id(base.tokenizer, "auto"),
        never_hidden=special,
        settings=Explain(num_samples=20000),
    )
    assert len(made["text"]["tokens"]) == len([i for i in ids if i not in special]) >= 4
    total = np.abs(ours.coefficients).sum()  # what LIT divides by
    allowed = (6 * ours.standard_errors + 1e-6) / total  # chance, and rounding of float32
    share = ours.coefficients / total
    assert (np.abs(np.array(made["text"]["salience"]) - share) < allowed).all()
    assert np.abs(share).max() > 10 * allowed.max()


def test_contributions_of_edited_texts(live: Served, results: str) -> None:
    text = "3 炭素 得点 12"
    path = address("bert", interpreter="contributions by lime")
    target = {"config": {"_salience_target": {"field": "probabilities", "index": 1}}}
    (made,) = live.ask(f"get_interpretations?{path}", edited(text) | target)
    spec, base, model = kept(results, "bert")
    (ours,) = explain_texts(
        make_target(model, spec).predict,
        [base.tokenizer(text)["input_ids"]],
        hidden_as=base.tokenizer.mask_token_id,
        never_hidden=find_special_ids(base.tokenizer),
        settings=Explain(num_samples=60),
        names=[text],
    )
    assert made["lime"]["salience"] == pytest.approx(ours.coefficients.tolist(), abs=1e-6)


def test_what_cannot_be_answered_is_told(live: Served) -> None:
    path = address("llama", interpreter="LIT's LIME on sub-words")
    with pytest.raises(urllib.error.HTTPError) as raised:
        live.ask(f"get_interpretations?{path}", edited(""))
    assert "have no tokens" in raised.value.read().decode()


def test_killed_it_leaves_no_process(results: str, environment: Path, tmp_path: Path) -> None:
    made = Served(results, environment, tmp_path, "--live")
    assert made.ask("get_preds?" + address("llama"), edited("炭素"))
    made.end(signal.SIGKILL)
    wait_for(lambda: not made.answers())
    assert list(tmp_path.iterdir()) == []


def test_classifiers_that_are_gone_are_told(
    results: str, environment: Path, tmp_path: Path
) -> None:
    def end(request: bytes) -> bytes:
        raise EOFError

    assert main(["lit", "export", results, "--out", str(tmp_path)]) == 0
    with serve(tmp_path, environment, "127.0.0.1", 0, end) as server:
        root = server.url.partition("?")[0]
        with pytest.raises(urllib.error.HTTPError) as raised:
            post(root + "get_preds?" + address("llama"), edited("炭素"))
        assert "trained classifiers has ended" in raised.value.read().decode()
