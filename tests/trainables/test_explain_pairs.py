"""Explanations of pairs of texts: tokens of both texts, separators that are never hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_tasks import PATTERN, pairs

from xlt.trainables.explain import lime
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.explain.target import Explanation
from xlt.trainables.inference.explain_kept import explain_kept
from xlt.trainables.loading.base import load_base
from xlt.trainables.results.attributions import (
    COLUMNS,
    Attributions,
    read_attributions,
    save_attributions,
)
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
Values = NDArray[np.float64]
START, END, HIDDEN = 7, 8, 9
FIRST, SECOND = np.array([2.0, -1.0, 0.5]), np.array([-1.5, 3.0, 0.25])
"""Weights of the tokens 10, 11 and 12 in the first text and in the second."""
PAIR = [START, 10, 11, 12, END, 10, 11, 12, END]


def kept_of(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tokens of both texts that are not hidden: num_rows x 6, those of the first text first."""
    for row in rows:
        assert (row[0], row[-1], (row == END).sum()) == (START, END, 2), "a separator is hidden"
    return np.concatenate([rows[:, 1:4] != HIDDEN, rows[:, 5:8] != HIDDEN], axis=1)


def logistic(logits: Values) -> Values:
    return 1 / (1 + np.exp(-logits))


def predict_bag(rows: NDArray[np.int64]) -> Values:
    """A logistic bag of words over both texts, in which the same word has two weights."""
    return logistic(kept_of(rows) @ np.concatenate([FIRST, SECOND]) - 0.5)


def predict_together(rows: NDArray[np.int64]) -> Values:
    """The same, and the first token of the first text counts more with the second of the second."""
    kept = kept_of(rows)
    logits = kept @ np.concatenate([FIRST, SECOND]) - 0.5 + 1.25 * kept[:, 0] * kept[:, 4]
    return logistic(logits)


def integrate_bag(rows: Any, baselines: Any, points: Values, weights: Values) -> Values:
    """Integrated gradients of the bag of words; the embedding of a token is its weight."""
    embedded = np.zeros(len(PAIR))
    embedded[1:4], embedded[5:8] = FIRST, SECOND
    p = logistic(points * embedded.sum() - 0.5)
    return np.array([embedded * (p * (1 - p) @ weights)])


def explained(predict: Callable[..., Values], method: str, **changes: Any) -> Explanation:
    (made,) = explain_texts(
        predict, [PAIR], hidden_as=HIDDEN, never_hidden={START, END}, integrate=integrate_bag,
        settings=Explain.parse({"method": method, **changes}),
    )  # fmt: skip
    return made


# lime 0.2.0.1: LimeBase(kernel of width 25).explain_instance_with_data(data, [1 - p, p], d, 1, 6,
# feature_selection="none") on the concatenated features of both texts: data are all 64 masks, the
# whole pair first, p = predict_together, d = 100 x pairwise_distances(data, data[:1], "cosine").
LIME_BASE = [0.2409626728693332, -0.10290504702201402, 0.04779991198071819,
             -0.15283500616198192, 0.4057563481637714, 0.022256791123832293]  # fmt: skip
INTERCEPT, R2 = 0.43889268477817983, 0.8960629025838408


def test_the_numbers_of_the_lime_package(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = ((np.arange(64)[:, None] >> np.arange(6)) & 1)[::-1].astype(bool)
    monkeypatch.setattr(lime, "draw_masks", lambda *given: (masks, np.ones(64, np.int64)))
    made = explained(predict_together, "lime", preset="lime", num_samples=63, replacement="unk")
    assert made.coefficients == pytest.approx(LIME_BASE, rel=0, abs=1e-12)
    assert made.intercept == pytest.approx(INTERCEPT, rel=0, abs=1e-12)
    assert made.r2 == pytest.approx(R2, rel=0, abs=1e-12)


def test_a_bag_of_words_over_both_texts() -> None:
    """Integrated gradients share the difference by weight; occlusion is a difference."""
    weights = np.concatenate([FIRST, SECOND])
    made = explained(predict_bag, "ig", num_steps=40)
    share = (made.p_original - made.p_masked) / weights.sum()
    assert made.coefficients == pytest.approx(weights * share, abs=1e-9)
    made = explained(predict_bag, "occlusion")
    whole = logistic(np.array(weights.sum() - 0.5))
    assert made.coefficients == pytest.approx(whole - logistic(weights.sum() - weights - 0.5))
    assert made.p_masked == pytest.approx(logistic(np.array(-0.5)))


@pytest.fixture(scope="module", params=["bert", "llama"])
def trial(request: Any, tmp_path_factory: Any, make_spec: MakeSpec) -> Any:
    """A trial of pairs that was explained while it ran."""
    dataset = pairs()
    results = Results(str(tmp_path_factory.mktemp("pairs")))
    results.prepare()
    spec = make_spec(
        request.param, pattern=PATTERN, sampling={"test_rows": 20},
        data_fingerprint=dataset.fingerprint, training={"num_train_epochs": 3, "batch_size": 8},
    )  # fmt: skip
    result = run_trial(spec, dataset, keep_models="all", explain=Explain(num_samples=60))
    results.save(result)
    save_attributions(results, spec.trial_id, result.attributions)
    return results, spec, dataset


def test_each_token_has_its_text(trial: Any) -> None:
    """The texts are those of the tokenizer's own token types; no separator is explained."""
    results, spec, dataset = trial
    table = read_attributions(results, spec.trial_id, "lime").table
    assert table.schema.names == [*COLUMNS.names, "segments"]
    tokenizer = load_base(spec, torch.device("cpu"), torch.float32).tokenizer
    for row in table.to_pylist():
        (own,) = dataset.rows([row["id"]]).to_pylist()
        encoded = tokenizer(own["text"], own["text_pair"])
        places = [n for n in encoded.sequence_ids() if n is not None]
        assert row["segments"] == places and set(places) == {0, 1}
        assert not {*tokenizer.all_special_ids} & {*row["token_ids"]} - {tokenizer.unk_token_id}
        for segment, start, end in zip(row["segments"], row["starts"], row["ends"], strict=True):
            text = own["text_pair"] if segment else own["text"]
            assert row["text"][start:end] in text
    assert explain_kept(spec, dataset, results, Explain(num_samples=60)).table.equals(table)


def test_the_text_that_tells_the_label_contributes_most(trial: Any) -> None:
    """Only the second text of these pairs tells the label."""
    results, spec, _ = trial
    rows = read_attributions(results, spec.trial_id, "lime").table.to_pylist()
    added = np.zeros(2)
    for row in rows:
        for segment, value in zip(row["segments"], row["coefficients"], strict=True):
            added[segment] += abs(value)
    assert added[1] > added[0]


def test_attributions_of_earlier_versions_without_texts_of_tokens_are_read(trial: Any) -> None:
    results, spec, _ = trial
    made = read_attributions(results, spec.trial_id, "lime")
    save_attributions(
        results, spec.trial_id, Attributions(made.settings, made.table.drop(["segments"]))
    )
    assert read_attributions(results, spec.trial_id, "lime").table.schema.equals(COLUMNS)
    save_attributions(results, spec.trial_id, Attributions(made.settings, made.table))
