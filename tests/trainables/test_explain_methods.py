"""Explainers on tiny classifiers of every architecture, and against results of arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trained_tiny import make_trained

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_texts, measure_explanations
from xlt.trainables.explain.registry import EXPLAINERS
from xlt.trainables.explain.target import Explanation, Target
from xlt.trainables.explain.tokens import (
    find_replacement_id,
    find_special_ids,
    locate_tokens,
    make_readable,
)
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.spec.explain import METHOD_SETTINGS, Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import predict

MakeSpec = Callable[..., TrialSpec]
ARCHITECTURES = ("llama", "bert", "gpt_neox")
WEIGHTS = np.array([0.0, 0.0, 2.0, -1.0, 0.5, 0.0, 1.5])
HIDDEN, START = 0, 1


def predict_linear(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logistic function of the sum of the weights of a text's tokens."""
    return 1 / (1 + np.exp(-(WEIGHTS[rows].sum(axis=1) - 1)))


def integrate_linear(
    rows: NDArray[np.int64],
    baselines: NDArray[np.int64],
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Integrated gradients of the linear model, in which a token's embedding is its weight."""
    ends, starts = WEIGHTS[rows], WEIGHTS[baselines]
    logits = (starts.sum(1)[:, None] - 1) + points * (ends - starts).sum(1)[:, None]
    p = 1 / (1 + np.exp(-logits))
    return (ends - starts) * (p * (1 - p) @ weights)[:, None]


TEXTS = [[START, 2, 3, 4], [START, 6, 5, 2], [START, 3, 3], [START, 2, 6, 4, 5, 3, 2, 6]]


def explained(method: str, **changes: Any) -> list[Explanation]:
    return explain_texts(
        predict_linear, TEXTS, hidden_as=HIDDEN, never_hidden={START},
        settings=Explain(method=method, **changes), integrate=integrate_linear,
    )  # fmt: skip


def test_every_explainer_says_which_settings_it_has() -> None:
    assert EXPLAINERS.keys() == METHOD_SETTINGS.keys()
    fields = set(Explain.model_fields)
    assert all(own <= fields for own in METHOD_SETTINGS.values())


@pytest.mark.parametrize("method", EXPLAINERS)
class TestContract:
    def test_one_explanation_a_text_in_order(self, method: str) -> None:
        explanations = explained(method)
        assert [len(e.coefficients) for e in explanations] == [3, 3, 2, 7]
        for text, explanation in zip(TEXTS, explanations, strict=True):
            assert explanation.standard_errors.shape == explanation.coefficients.shape
            assert explanation.p_original == pytest.approx(predict_linear(np.array([text]))[0])
            assert explanation.p_masked == pytest.approx(1 / (1 + np.e))

    def test_signs_are_those_of_the_weights(self, method: str) -> None:
        for text, explanation in zip(TEXTS, explained(method), strict=True):
            weights = WEIGHTS[text[1:]]
            is_distinct = (weights != 0) & (np.abs(explanation.coefficients) > 0.01)
            assert is_distinct.any()
            assert np.array_equal(
                np.sign(explanation.coefficients[is_distinct]), np.sign(weights[is_distinct])
            )

    def test_the_same_again(self, method: str) -> None:
        first, second = explained(method), explained(method)
        for explanation, other in zip(first, second, strict=True):
            assert np.array_equal(explanation.coefficients, other.coefficients)


def test_integrated_gradients_of_a_logistic_function() -> None:
    """In closed form each token gets its share of the logit, of the difference of the scores."""
    for text, explanation in zip(TEXTS, explained("ig", num_steps=32), strict=True):
        weights = WEIGHTS[text[1:]]
        if weights.sum():
            shares = weights / weights.sum()
            expected = shares * (explanation.p_original - explanation.p_masked)
            assert explanation.coefficients == pytest.approx(expected, abs=1e-9)


def test_occlusion_is_a_difference() -> None:
    (explanation, *_) = explained("occlusion")
    without_first = predict_linear(np.array([[START, HIDDEN, 3, 4]]))[0]
    assert explanation.coefficients[0] == pytest.approx(explanation.p_original - without_first)


def test_comprehensiveness_and_sufficiency_by_hand() -> None:
    """Ten tokens: 1, 2 and 5 of them count; this classifier knows the sum of four."""
    text = [START, 2, 6, 4, 3, 5, 5, 5, 5, 5, 5]
    explanations = explain_texts(
        predict_linear, [text], hidden_as=HIDDEN, never_hidden={START},
        settings=Explain(method="occlusion"),
    )  # fmt: skip
    (measured,) = measure_explanations(
        [Target(predict_linear)], [text], explanations, hidden_as=HIDDEN, never_hidden={START}
    )
    p = [1 / (1 + np.exp(-(logit - 1))) for logit in (3.0, 1.0, -0.5, -1.0, 2.0, 3.5, 4.0)]
    whole = p[0]
    assert measured.comprehensiveness == pytest.approx(
        np.mean([whole - p[1], whole - p[2], whole - p[3]])
    )
    assert measured.sufficiency == pytest.approx(
        np.mean([whole - p[4], whole - p[5], whole - p[6]])
    )
    assert measured.random_comprehensiveness < measured.comprehensiveness


class TestBadInput:
    def test_gradients_of_a_function_that_only_predicts(self) -> None:
        with pytest.raises(InputError, match="ig needs gradients"):
            explain_texts(predict_linear, TEXTS, hidden_as=0, settings=Explain(method="ig"))

    def test_a_baseline_of_another_length(self) -> None:
        with pytest.raises(InputError, match="replacement is delete"):
            explain_texts(
                predict_linear, TEXTS, hidden_as=None, settings=Explain(method="ig"),
                integrate=integrate_linear,
            )  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def trained(request: Any, make_spec: MakeSpec, tiny_dataset: Dataset) -> Any:
    """Spec, base, classifier with a head that is not zero, ids of some texts of one length."""
    spec = make_spec(request.param)
    base, model = make_trained(spec)
    ids = encode(base, tiny_dataset.table.slice(0, 40), 128)
    length = max(set(map(len, ids)), key=[len(i) for i in ids].count)
    return spec, base, model, [i for i in ids if len(i) == length]


def test_scores_are_those_of_the_trial(trained: Any) -> None:
    spec, _, model, ids = trained
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    target = make_target(model, spec)
    assert target.predict(np.array(ids)) == pytest.approx(predict(model, ids, spec), abs=1e-4)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_integrated_gradients_are_complete(trained: Any) -> None:
    """Contributions add up to the difference of the scores (Sundararajan et al., axiom 3)."""
    spec, base, model, ids = trained
    target = make_target(model, spec)
    explanations = explain_texts(
        target.predict, ids, hidden_as=find_replacement_id(base.tokenizer, "auto"),
        never_hidden=find_special_ids(base.tokenizer), settings=Explain(method="ig", num_steps=64),
        integrate=target.integrate,
    )  # fmt: skip
    for explanation in explanations:
        assert explanation.coefficients.sum() == pytest.approx(
            explanation.p_original - explanation.p_masked, abs=2e-3
        )
    assert (
        max(abs(explanation.p_original - explanation.p_masked) for explanation in explanations)
        > 0.01
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replacements_by_tokenizer(architecture: str, make_spec: MakeSpec) -> None:
    base = load_base(make_spec(architecture), torch.device("cpu"), torch.float32)
    tokenizer = base.tokenizer
    auto = tokenizer.mask_token_id if architecture == "bert" else tokenizer.unk_token_id
    assert find_replacement_id(tokenizer, "auto") == auto
    assert find_replacement_id(tokenizer, "pad") == tokenizer.pad_token_id
    assert find_replacement_id(tokenizer, "delete") is None
    special = find_special_ids(tokenizer)
    assert tokenizer.unk_token_id not in special
    if architecture == "bert":
        assert {tokenizer.cls_token_id, tokenizer.sep_token_id} <= special
    else:
        with pytest.raises(InputError, match=r"no such token; choose one of unk, pad, .*delete"):
            find_replacement_id(tokenizer, "mask")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pieces_are_readable(architecture: str, make_spec: MakeSpec) -> None:
    """A character that was never seen is cut into bytes; they are shown as bytes."""
    base = load_base(make_spec(architecture), torch.device("cpu"), torch.float32)
    text = "12 carbon 炭素 鬱"
    ids = base.tokenizer(text)["input_ids"]
    pieces = make_readable(base.tokenizer, ids)
    assert "carbon" in pieces
    assert not any("Ġ" in piece or "ç" in piece for piece in pieces)
    if architecture != "bert":
        assert pieces[-3:] == [f"<0x{byte:02X}>" for byte in "鬱".encode()]
    _, (places,) = locate_tokens(base.tokenizer, [text], None, 128)
    assert [
        text[s:e].strip() for (s, e), p in zip(places, pieces, strict=True) if p == "carbon"
    ] == ["carbon"]


def test_places_in_a_pair_of_texts(make_spec: MakeSpec) -> None:
    base = load_base(make_spec("bert"), torch.device("cpu"), torch.float32)
    (whole,), (places,) = locate_tokens(base.tokenizer, ["carbon goal"], ["waste"], 128)
    assert whole == "carbon goal\nwaste"
    assert {whole[start:end] for start, end in places} == {"", "carbon", "goal", "waste"}
