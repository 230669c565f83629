"""Explanations of a chosen class, for classifiers of more than two classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
from numpy.typing import NDArray
from tiny_tasks import PATTERN, three_classes
from trained_tiny import make_trained

from xlt.data.core.errors import InputError
from xlt.trainables.explain import lime
from xlt.trainables.explain.classes import choose_labels, predict_texts
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_targets, measure_explanations
from xlt.trainables.explain.registry import EXPLAINERS
from xlt.trainables.explain.target import ClassTargets, Explanation, Target
from xlt.trainables.explain.tokens import find_replacement_id, find_special_ids
from xlt.trainables.inference.explain_kept import explain_kept
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.attributions import (
    COLUMNS,
    has_attributions,
    read_attributions,
    save_attributions,
)
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import predict
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
Values = NDArray[np.float64]
START, HIDDEN = 7, 9
SLOPES = np.array(
    [[2.0, -1.0, 0.5], [-1.0, 0.0, 1.0], [0.5, 1.5, -0.5],
     [0.0, -2.0, 0.25], [3.0, 0.5, -1.0], [-0.25, 1.0, 2.0]]
)  # fmt: skip
"""Weight of each of the six tokens 10 ... 15 in the logit of each of three classes."""
LEVEL = np.array([-1.5, 0.25, 0.0])


def softmax(logits: Values) -> Values:
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def score(kept: NDArray[Any]) -> Values:
    """Probabilities of three classes that are not linear in the kept tokens."""
    logits = kept.astype(float) @ SLOPES + LEVEL
    logits[..., 1] += 1.25 * kept[..., 0] * kept[..., 2]
    return softmax(logits)


def tokens_of(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.stack([(rows == 10 + token).any(axis=1) for token in range(6)], axis=1)


def predict_linear(rows: NDArray[np.int64]) -> Values:
    """The softmax of the sums of the weights of a text's tokens."""
    return softmax(tokens_of(rows) @ SLOPES + LEVEL)


def integrate_linear(
    label: int, rows: NDArray[np.int64], baselines: NDArray[np.int64], points: Values,
    weights: Values,
) -> Values:  # fmt: skip
    """Integrated gradients of the linear model; a token's embedding is its row of weights."""
    steps = []
    for row in rows:
        own = np.stack([SLOPES[i - 10] if i >= 10 else np.zeros(3) for i in row])
        p = softmax(points[:, None] * own.sum(axis=0) + LEVEL)
        of_logits = p[:, [label]] * (np.eye(3)[label] - p)  # of p[label]
        steps.append(own @ (weights @ of_logits))
    return np.array(steps)


def linear(label: int) -> Target:
    def integrate(*line: Any) -> Values:
        return integrate_linear(label, *line)

    return Target(lambda rows: predict_linear(rows)[:, label], integrate, True)


TEXTS = [[START, 10, 11, 12, 13, 14, 15], [START, 15, 12, 11], [START, 14, 13, 10]]


def explained(method: str, label: int, **changes: Any) -> list[Explanation]:
    return explain_targets(
        [linear(label)] * len(TEXTS), TEXTS, hidden_as=HIDDEN, never_hidden={START},
        settings=Explain.parse({"method": method, **changes}),
    )  # fmt: skip


# lime 0.2.0.1: LimeBase(kernel of width 25).explain_instance_with_data(data, score(data), d, label,
# 6, feature_selection="none") on all 64 masks of six tokens, the whole text first, d = 100 x
# pairwise_distances(data, data[:1], "cosine"). Six coefficients, intercept, R^2 of each class.
LIME_BASE = [
    ([0.1984728297578503, -0.18696430605598338, -0.009186981284884642,
      0.10523417142929117, 0.3963054553968368, -0.21909631352144077],
     0.19206976660815722, 0.8647506779479381),
    ([-0.13962202851147487, 0.0028256899582943962, 0.215792645555331,
      -0.2739833279442216, -0.01349501229965739, 0.018807769501697245],
     0.3544594767536297, 0.7749707005458786),
    ([-0.05885080124637546, 0.18413861609768903, -0.20660566427044644,
      0.1687491565149303, -0.38281044309717965, 0.20028854401974355],
     0.45347075663821335, 0.880006416982932),
]  # fmt: skip


@pytest.mark.parametrize("label", range(3))
def test_the_numbers_of_the_lime_package(label: int, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = ((np.arange(64)[:, None] >> np.arange(6)) & 1)[::-1].astype(bool)
    monkeypatch.setattr(lime, "draw_masks", lambda *given: (masks, np.ones(64, np.int64)))
    target = Target(lambda rows: score(tokens_of(rows))[:, label], None, True)
    (made,) = explain_targets(
        [target], TEXTS[:1], hidden_as=HIDDEN, never_hidden={START},
        settings=Explain(preset="lime", num_samples=63, replacement="unk"),
    )  # fmt: skip
    coefficients, intercept, r2 = LIME_BASE[label]
    assert made.coefficients == pytest.approx(coefficients, rel=0, abs=1e-12)
    assert made.intercept == pytest.approx(intercept, rel=0, abs=1e-12)
    assert made.r2 == pytest.approx(r2, rel=0, abs=1e-12)


@pytest.mark.parametrize("label", range(3))
def test_integrated_gradients_of_a_softmax(label: int) -> None:
    """The integral along the line, by scipy's adaptive quadrature."""
    for text, made in zip(TEXTS, explained("ig", label, num_steps=40), strict=True):
        own = SLOPES[np.array(text[1:]) - 10]

        def gradient(at: float, token: int, own: Values = own) -> float:
            p = softmax(at * own.sum(axis=0) + LEVEL)
            return float(p[label] * (own[token, label] - p @ own[token]))

        expected = [
            scipy.integrate.quad(gradient, 0, 1, (token,), epsabs=1e-12)[0]
            for token in range(len(own))
        ]
        assert made.coefficients == pytest.approx(expected, abs=1e-9)
        assert sum(expected) == pytest.approx(made.p_original - made.p_masked)


def test_occlusion_is_the_drop_of_the_class() -> None:
    for label in range(3):
        made = explained("occlusion", label)[0]
        without = predict_linear(np.array([[START, HIDDEN, *TEXTS[0][2:]]]))[0, label]
        assert made.coefficients[0] == pytest.approx(made.p_original - without)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_what_a_token_adds_to_a_class_it_takes_from_the_others(method: str) -> None:
    """Probabilities add up to 1, and every method is linear in them."""
    by_class = [explained(method, label) for label in range(3)]
    for made in zip(*by_class, strict=True):
        assert sum(e.coefficients for e in made) == pytest.approx(
            np.zeros_like(made[0].coefficients)
        )
        assert sum(e.p_original for e in made) == pytest.approx(1)


def test_faithfulness_is_of_the_explained_class_even_if_it_is_unlikely() -> None:
    text = TEXTS[0]
    made = explain_targets(
        [linear(1)], [text], hidden_as=HIDDEN, never_hidden={START},
        settings=Explain(method="occlusion"),
    )  # fmt: skip
    assert made[0].p_original < 0.5
    (measured,) = measure_explanations(
        [linear(1)], [text], made, hidden_as=HIDDEN, never_hidden={START}
    )
    order = np.argsort(-made[0].coefficients, kind="stable")
    drops = []
    for size in (1, 2, 3):  # 10, 20 and 50 % of six tokens
        hidden = [HIDDEN if n - 1 in order[:size] else i for n, i in enumerate(text)]
        drops.append(made[0].p_original - predict_linear(np.array([hidden]))[0, 1])
    assert measured.comprehensiveness == pytest.approx(np.mean(drops))


def test_the_class_of_each_text_is_chosen() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    classes = ("a", "true", "c")

    def chosen(name: str | None, classes: tuple[str, ...] = classes) -> list[int]:
        settings = Explain.parse({"class": name})
        return choose_labels(settings, classes, probabilities, [2, 1]).tolist()

    assert chosen(None) == chosen("predicted") == [0, 2]
    assert chosen("c") == [2, 2]
    assert chosen("true") == [1, 1]  # a class of this name comes first
    assert chosen("true", ("a", "b", "c")) == [2, 1]
    with pytest.raises(InputError, match=r"unknown class 'b'.*Known: a, c, predicted, true, true"):
        chosen("b")
    with pytest.raises(InputError, match="with two classes a token adds to one what it takes from"):
        chosen("a", ("a", "b"))


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt_neox"])
def test_trained_classifiers(architecture: str, make_spec: MakeSpec) -> None:
    """Scores are those of the trial; the gradients of each class add up to its difference."""
    spec = make_spec(architecture)
    base, model = make_trained(spec, 3)
    ids = encode(base, three_classes().table.slice(0, 6), 128)
    target = make_target(model, spec)
    assert isinstance(target, ClassTargets)
    expected = predict(model, ids, spec)
    assert predict_texts(target.predict, ids) == pytest.approx(expected, abs=1e-4)
    labels = expected.argmin(axis=1).tolist()
    of_class = {label: target.of_class(label) for label in set(labels)}
    made = explain_targets(
        [of_class[label] for label in labels], ids,
        hidden_as=find_replacement_id(base.tokenizer, "auto"),
        never_hidden=find_special_ids(base.tokenizer),
        settings=Explain(method="ig", num_steps=64),
    )  # fmt: skip
    for text, explanation in enumerate(made):
        assert explanation.p_original == pytest.approx(expected[text, labels[text]], abs=1e-4)
        difference = explanation.p_original - explanation.p_masked
        assert explanation.coefficients.sum() == pytest.approx(difference, abs=1e-3)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: Any, make_spec: MakeSpec) -> Any:
    """A trial of three classes that was explained while it ran."""
    dataset = three_classes()
    results = Results(str(tmp_path_factory.mktemp("classes")))
    results.prepare()
    spec = make_spec(
        "bert", pattern=PATTERN, sampling={"test_rows": 21}, data_fingerprint=dataset.fingerprint,
        training={"num_train_epochs": 4, "batch_size": 8},
    )  # fmt: skip
    result = run_trial(spec, dataset, keep_models="all", explain=Explain(num_samples=50))
    results.save(result)
    save_attributions(results, spec.trial_id, result.attributions)
    return results, spec, dataset, result


def test_a_trial_is_explained_for_its_predictions(trial: Any) -> None:
    results, spec, dataset, result = trial
    made = read_attributions(results, spec.trial_id, "lime")
    table = made.table
    assert made.settings == Explain(num_samples=50).resolved() and "class" not in made.settings
    assert table.schema.names == [*COLUMNS.names, "explained", "predicted"]
    scores = np.array(result.predictions["y_score"].to_pylist())
    assert table["explained"].to_pylist() == scores.argmax(axis=1).tolist()
    assert table["predicted"].equals(table["explained"])
    assert table["p_original"].to_pylist() == pytest.approx(scores.max(axis=1), abs=1e-5)
    assert explain_kept(spec, dataset, results, Explain(num_samples=50)).table.equals(table)


@pytest.mark.parametrize("name", ["sport", "true"])
def test_a_kept_trial_is_explained_for_a_chosen_class(trial: Any, name: str) -> None:
    results, spec, dataset, result = trial
    settings = Explain.parse({"method": "ig", "class": name})
    made = explain_kept(spec, dataset, results, settings)
    assert made.error == "" and made.settings["class"] == name
    labels = result.predictions["y_true"].to_pylist() if name == "true" else [1] * 21
    assert made.table["explained"].to_pylist() == labels
    scores = np.array(result.predictions["y_score"].to_pylist())[np.arange(21), labels]
    assert made.table["p_original"].to_pylist() == pytest.approx(scores, abs=1e-5)
    save_attributions(results, spec.trial_id, made)
    assert has_attributions(results, spec.trial_id, settings.resolved())
    assert not has_attributions(results, spec.trial_id, Explain(method="ig").resolved())


def test_a_class_that_does_not_exist_is_refused(trial: Any) -> None:
    results, spec, dataset, _ = trial
    made = explain_kept(spec, dataset, results, Explain.parse({"class": "sports"}))
    assert made.error.startswith("class: unknown class 'sports'. Did you mean 'sport'?")
