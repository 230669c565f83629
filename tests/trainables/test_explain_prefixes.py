"""Common beginnings of masked texts: where rows are cut, and that scores do not change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from trained_tiny import make_trained

from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.masks import draw_masks, hide
from xlt.trainables.explain.prefixes import (
    COPY_COST,
    STRETCH_COST,
    can_read_prefixes,
    compute_logits_by_prefix,
    plan_stretches,
)
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import predict

MakeSpec = Callable[..., TrialSpec]


def cost(cuts: list[tuple[int, int]], num_beginnings: list[int]) -> float:
    return sum(
        num_beginnings[end - 1] * (end - start + COPY_COST * start) + STRETCH_COST
        for start, end in cuts
    )


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=7).map(sorted))
@settings(max_examples=60)
def test_no_other_cuts_cost_less(num_beginnings: list[int]) -> None:
    length = len(num_beginnings)
    cut = plan_stretches(np.array(num_beginnings))
    assert [n for start, end in cut for n in range(start, end)] == list(range(length))
    ways = (
        list(zip([0, *inner], [*inner, length], strict=True))
        for num in range(length)
        for inner in combinations(range(1, length), num)
    )
    best = min(cost(way, num_beginnings) for way in ways)
    assert cost(cut, num_beginnings) == pytest.approx(best)


@pytest.fixture(scope="module", params=["llama", "gpt_neox"])
def decoder(request: Any, make_spec: MakeSpec) -> tuple[TrialSpec, Any]:
    spec = make_spec(request.param)
    return spec, make_trained(spec)[1]


def masked(num_texts: int, num_tokens: int) -> NDArray[np.int64]:
    """Masked copies of texts, a special token first, hidden tokens as id 7."""
    rng = np.random.default_rng(num_tokens)
    kept, _ = draw_masks(num_tokens, 150, 0)
    ids = rng.integers(10, 60, size=(num_texts, num_tokens + 1))
    ids[:, 0] = 1
    positions = np.tile(np.arange(1, num_tokens + 1), (num_texts, 1))
    rows = hide(ids, positions, np.tile(kept, (num_texts, 1, 1)), 7)
    return rows.reshape(-1, num_tokens + 1)


@pytest.mark.parametrize("num_tokens", [1, 6, 13])
def test_scores_are_those_of_whole_texts(decoder: tuple[TrialSpec, Any], num_tokens: int) -> None:
    spec, model = decoder
    rows = masked(3, num_tokens)
    expected = predict(model, rows.tolist(), spec)
    assert np.ptp(expected) > 0.01
    assert make_target(model, spec).predict(rows) == pytest.approx(expected, abs=1e-5)
    ordered = rows[np.lexsort(rows.T[::-1])]
    lengths = []
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    hook = inner.get_input_embeddings().register_forward_hook(
        lambda module, arguments, out: lengths.append(arguments[0].numel())
    )
    with torch.inference_mode():
        shared = compute_logits_by_prefix(model, ordered)
        shuffled = compute_logits_by_prefix(model, rows)
    hook.remove()
    assert shared.softmax(-1)[:, 1].numpy() == pytest.approx(
        predict(model, ordered.tolist(), spec), abs=1e-5
    )
    assert shuffled.softmax(-1)[:, 1].numpy() == pytest.approx(expected, abs=1e-5)
    if num_tokens == 6:
        assert sum(lengths[: len(lengths) // 2]) < 0.7 * rows.size


def test_a_text_that_ends_with_padding_is_read_as_a_trial_reads_it(
    decoder: tuple[TrialSpec, Any],
) -> None:
    spec, model = decoder
    rows = masked(1, 6)
    rows[::2, -1] = model.config.pad_token_id
    expected = predict(model, rows.tolist(), spec)
    assert make_target(model, spec).predict(rows) == pytest.approx(expected, abs=1e-5)


def test_an_encoder_reads_whole_texts(make_spec: MakeSpec, decoder: tuple[TrialSpec, Any]) -> None:
    spec = make_spec("bert")
    assert not can_read_prefixes(make_trained(spec)[1])
    assert can_read_prefixes(decoder[1])


TINY = {"vocab_size": 70, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
DECODERS = {
    "llama": transformers.LlamaConfig(**TINY, num_attention_heads=4),
    "grouped queries": transformers.LlamaConfig(
        **TINY, num_attention_heads=4, num_key_value_heads=2
    ),
    "gpt_neox": transformers.GPTNeoXConfig(**TINY, num_attention_heads=4),
    "residuals one after the other": transformers.GPTNeoXConfig(
        **TINY, num_attention_heads=4, use_parallel_residual=False
    ),
    "not in ATTENTION": transformers.Qwen2Config(
        **TINY, num_attention_heads=4, num_key_value_heads=4
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_the_last_layer_reads_one_token_and_says_the_same(name: str) -> None:
    config = copy.deepcopy(DECODERS[name])
    config.pad_token_id, config.initializer_range = 0, 0.5
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    rows = masked(2, 9)
    sizes: list[list[int]] = [[], []]
    layers = model.base_model.layers
    for layer, seen in zip(layers, sizes, strict=True):
        layer.mlp.register_forward_hook(
            lambda module, arguments, out, seen=seen: seen.append(out[..., 0].numel())
        )
    with torch.inference_mode():
        expected = model(input_ids=torch.from_numpy(rows)).logits
        plain = [seen.pop() for seen in sizes]
        order = np.lexsort(rows.T[::-1])
        shared = compute_logits_by_prefix(model, rows[order])
        first, last = map(sum, sizes)
        again = model(input_ids=torch.from_numpy(rows)).logits
    assert plain == [rows.size, rows.size]
    assert shared.numpy() == pytest.approx(expected.numpy()[order], abs=1e-4)
    assert np.ptp(expected.numpy()) > 1
    assert (last < first / 2) == (name != "not in ATTENTION")
    assert torch.equal(again, expected)  # the model is as it was
    assert {id(getattr(a, "config", config)) for a in layers.modules()} == {id(config)}
