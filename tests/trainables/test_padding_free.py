"""Passes without padding give the results of padded passes of the same model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_checkpoints import OTHER_SIZES, make_classifier, make_config

from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading import padding_free
from xlt.trainables.loading.batching import collate
from xlt.trainables.loading.padding_free import Layout, can_be_padding_free, make_padding_free
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training import classification
from xlt.trainables.training.loop import collate_rows
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
PADDED_ONLY = {
    "bert", "albert",  # a pooler inside the backbone
    "roberta", "xlm-roberta", "camembert",  # positions after that of the pad token
    "gemma2", "gptj", "bloom", "falcon", "mpt", "stablelm", "deberta-v2",  # attention of their own
}  # fmt: skip
LENGTHS = {"uneven": (1, 40, 7, 23), "even": (9, 9), "one row": (12,), "one token": (1,)}


def classifier(architecture: str, **fields: Any) -> Any:
    """In evaluation mode, all of it trainable."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    own = {} if architecture in OTHER_SIZES else heads
    config = make_config(architecture, vocab_size=100, pad_token_id=0, **own, **fields)
    return make_classifier(config).eval().requires_grad_(True)


def texts(lengths: tuple[int, ...]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(5, 100, (n,), generator=generator).tolist() for n in lengths]


def learnt(model: Any, rows: list[list[int]]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradients of each parameter."""
    inputs = collate(rows, model.config.pad_token_id, CPU, model.config.sep_token_id)
    logits = model(**inputs).logits
    logits.square().sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_as_padded(model: Any, rows: list[list[int]]) -> None:
    free = copy.deepcopy(model)
    make_padding_free(free)
    logits, gradients = learnt(model, rows)
    free_logits, others = learnt(free, rows)
    torch.testing.assert_close(free_logits, logits, atol=1e-5, rtol=0)
    others = {name.replace(".inner.", "."): value for name, value in others.items()}
    torch.testing.assert_close(others, gradients, atol=1e-5, rtol=1e-5)


def test_which_architectures_can_do_without_padding() -> None:
    can = {name for name in ARCHITECTURES if can_be_padding_free(classifier(name))}
    assert can == set(ARCHITECTURES) - PADDED_ONLY


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a not in PADDED_ONLY])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_logits_and_gradients_are_those_of_padded_rows(architecture: str, lengths: str) -> None:
    assert_as_padded(classifier(architecture), texts(LENGTHS[lengths]))


@pytest.mark.parametrize("architecture", ["mistral", "gemma3_text", "qwen2", "modernbert"])
def test_sliding_windows_are_kept(architecture: str) -> None:
    kinds = {"layer_types": ["full_attention", "sliding_attention"], "use_sliding_window": True}
    fields = {"sliding_window": 4} | ({} if architecture == "mistral" else kinds)
    model = classifier(architecture, **fields)
    assert_as_padded(model, texts(LENGTHS["uneven"]))


def test_a_model_that_shares_its_tensors_keeps_padding() -> None:
    model = classifier("llama")
    tensors = {id(p): p for p in model.parameters()}
    make_padding_free(copy.deepcopy(model, tensors))
    assert model.config._attn_implementation == "sdpa"
    assert type(model.base_model).__name__ == "LlamaModel"


def test_no_projection_sees_padding() -> None:
    model = classifier("llama")
    make_padding_free(model)
    shapes = []
    for layer in model.model.inner.layers:
        layer.mlp.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    learnt(model, texts(LENGTHS["uneven"]))
    assert shapes == [(1, sum(LENGTHS["uneven"]), 32)] * 2


@pytest.mark.parametrize("size", [None, 3])
def test_padding_of_a_trial_is_counted(
    size: int | None,
    make_spec: Callable[..., TrialSpec],
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against the attention masks of its passes."""
    masks = []

    def seen(*given: Any) -> dict[str, torch.Tensor]:
        inputs = collate_rows(*given)
        masks.append(inputs["attention_mask"].flatten().float())
        return inputs

    monkeypatch.setattr(classification, "collate_rows", seen)
    spec = make_spec("llama", resources={"micro_batch_size": size})
    share = run_trial(spec, tiny_dataset).execution["padding_share"]
    assert share == pytest.approx(1 - torch.cat(masks).mean().item(), abs=1e-4)
    assert share > 0


@pytest.mark.parametrize("broken", ["positions", "mask"])
def test_the_comparison_sees_what_leaks(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that continue from text to text, and attention without a mask."""
    model = classifier("gpt2" if broken == "positions" else "modernbert")
    if broken == "positions":
        place = property(lambda self: torch.arange(len(self._places)), lambda self, _: None)
        monkeypatch.setattr(padding_free.Layout, "positions", place, raising=False)
    else:
        monkeypatch.setattr(Layout, "make_mask", lambda self, **_: None)
    with pytest.raises(AssertionError, match="not close"):
        assert_as_padded(model, texts(LENGTHS["uneven"]))


def test_places_in_padded_rows() -> None:
    layout = Layout(torch.tensor([[True, True, True], [True, False, False]]))
    assert layout.positions.tolist() == [0, 1, 2, 0]
    padded = layout.pad(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    assert padded.squeeze(-1).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert layout.unpad(padded).squeeze(-1).tolist() == [1, 2, 3, 4]
    assert layout.make_mask(is_causal=True, window=None) is None
    mask = layout.make_mask(is_causal=True, window=2)
    assert mask is not None
    assert mask[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert mask[1, 0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
