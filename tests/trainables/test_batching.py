"""Batches: every row once per epoch, little padding, and scores independent of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.batching import collate, draw_batches
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.models.pad_token import set_pad_token
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training import loop

MakeSpec = Callable[..., TrialSpec]
CPU = torch.device("cpu")
ALL_ARCHITECTURES = pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])


def batches(lengths: list[int], batch_size: int, seed: int = 0) -> list[list[int]]:
    return list(draw_batches(lengths, batch_size, np.random.default_rng(seed)))


@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=400),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_row_once_an_epoch_in_as_few_batches_as_possible(
    lengths: list[int], batch_size: int, seed: int
) -> None:
    drawn = batches(lengths, batch_size, seed)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(lengths)))
    assert len(drawn) == -(-len(lengths) // batch_size)
    assert sum(len(batch) != batch_size for batch in drawn) <= 1
    assert drawn == batches(lengths, batch_size, seed)


def test_buckets_halve_the_padding_and_leave_a_shuffle() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 60, 1128).tolist()

    def padding(epoch: list[list[int]]) -> float:
        padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in epoch)
        return 1 - sum(lengths) / padded

    order = rng.permutation(len(lengths)).tolist()
    unsorted = [order[start : start + 16] for start in range(0, len(order), 16)]
    assert padding(batches(lengths, 16)) < padding(unsorted) / 2
    assert batches(lengths, 16, seed=0) != batches(lengths, 16, seed=1)
    means = [np.mean([lengths[row] for row in batch]) for batch in batches(lengths, 16)]
    # Sorted lengths would correlate with the step; shuffled batches do not.
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


@given(rows=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=9))
def test_collate_pads_on_the_right(rows: list[list[int]]) -> None:
    batch = collate(rows, 0, CPU)
    assert batch["input_ids"].shape == (len(rows), max(map(len, rows)))
    for ids, padded, mask in zip(rows, batch["input_ids"], batch["attention_mask"], strict=True):
        assert padded.tolist() == ids + [0] * (len(padded) - len(ids))
        assert mask.tolist() == [1] * len(ids) + [0] * (len(padded) - len(ids))


# --- the score of a text ----------------------------------------------------------------------


def loaded(make_spec: MakeSpec, architecture: str) -> tuple[Base, TrialSpec]:
    spec = make_spec(architecture)
    return load_base(spec, CPU, torch.float32), spec


@ALL_ARCHITECTURES
@settings(max_examples=8)
@given(data=st.data())
def test_a_score_does_not_depend_on_the_batch(
    architecture: str, make_spec: MakeSpec, data: st.DataObject
) -> None:
    base, spec = loaded(make_spec, architecture)
    pad = base.tokenizer.pad_token_id
    token = st.integers(0, base.model.config.vocab_size - 1)
    text = st.lists(token, min_size=1, max_size=20).filter(lambda ids: ids[-1] != pad)
    rows = data.draw(st.lists(text, min_size=2, max_size=6))
    together = loop.predict(base.model, rows, spec)
    alone = [loop.predict(base.model, [ids], spec)[0] for ids in rows]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@ALL_ARCHITECTURES
def test_a_score_does_not_depend_on_the_padding_side(
    architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    base, spec = loaded(make_spec, architecture)
    token_ids = encode(base, tiny_dataset.table.slice(0, 9), 128)
    expected = loop.predict(base.model, token_ids, spec)
    right = collate(token_ids, base.tokenizer.pad_token_id, CPU)
    width = right["input_ids"].shape[1]
    left = {name: tensor.clone() for name, tensor in right.items()}
    for row, ids in enumerate(token_ids):
        for name in left:
            left[name][row] = torch.roll(right[name][row], width - len(ids))
    positions = (left["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = base.model(**left, position_ids=positions).logits
    np.testing.assert_allclose(logits.softmax(-1)[:, 1].numpy(), expected, atol=1e-6)
    assert base.tokenizer.padding_side == "right"


@pytest.mark.parametrize(
    ("architecture", "token"),
    [("llama", "eos"), ("llama", "unk"), ("gpt_neox", "eos"), ("gpt_neox", "unk"), ("bert", "sep")],
)
def test_a_special_token_at_the_end_of_a_text_is_read(
    architecture: str, token: str, make_spec: MakeSpec
) -> None:
    base, spec = loaded(make_spec, architecture)
    number = getattr(base.tokenizer, f"{token}_token_id")
    rows = [[5, 6, 7], [5, 6, 7, number], [5, 6, 7, number, 8, 9, 10]]
    assert len(set(loop.predict(base.model, rows, spec).round(9))) == 3


def test_bert_reads_the_pad_token_where_a_text_spells_it(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    base, _ = loaded(make_spec, "bert")
    rows = tiny_dataset.table.slice(0, 1).set_column(1, "text", [["a [PAD] title"]])
    (ids,) = encode(replace(base, encodings={}), rows, 128)
    assert base.tokenizer.pad_token_id in ids


# --- tokens -----------------------------------------------------------------------------------


def make_tokenizer(end: str | None, **names: str) -> Any:
    words = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", "<pad>", "text", "title"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if end:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, words[end])]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.mark.parametrize(
    ("end", "names", "pad"),
    [
        (None, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}, "<pad>"),
        ("</s>", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, "<s>"),
        ("</s>", {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}, "<unk>"),
        (None, {"bos_token": "</s>", "eos_token": "</s>"}, "</s>"),  # GPT-NeoX
    ],
)
def test_pad_token_is_one_that_ends_no_text(
    end: str | None, names: dict[str, str], pad: str, make_spec: MakeSpec
) -> None:
    base, _ = loaded(make_spec, "llama")
    model = type(base.model)(base.model.config)
    tokenizer = make_tokenizer(end, **names)
    set_pad_token(tokenizer, model)
    assert tokenizer.pad_token == pad
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(make_spec: MakeSpec) -> None:
    base, _ = loaded(make_spec, "llama")
    with pytest.raises(InputError, match="no special token to pad with"):
        set_pad_token(make_tokenizer("</s>", eos_token="</s>"), base.model)


@pytest.mark.parametrize("text", ["carbon <s>", "<s>"])
def test_a_text_that_ends_with_the_pad_token_is_refused(
    text: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    base, _ = loaded(make_spec, "llama")
    rows = tiny_dataset.table.slice(0, 2).set_column(1, "text", [["carbon", text]])
    with pytest.raises(InputError, match=r"1 texts .* token '<s>' .* first ids \['en1'\]"):
        encode(replace(base, encodings={}), rows, 128)


def test_a_text_without_tokens_is_refused(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    base, _ = loaded(make_spec, "llama")
    rows = tiny_dataset.table.slice(0, 1).set_column(1, "text", [[""]])
    with pytest.raises(InputError, match="1 texts have no tokens"):
        encode(replace(base, encodings={}), rows, 128)


def test_texts_are_tokenised_once(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    base, _ = loaded(make_spec, "bert")
    calls: list[int] = []

    class Counting:
        pad_token_id = base.tokenizer.pad_token_id

        def __call__(self, texts: list[str], pairs: None, **options: Any) -> Any:
            calls.append(len(texts))
            return base.tokenizer(texts, pairs, **options)

    counted = replace(base, tokenizer=Counting(), encodings={})
    table = tiny_dataset.table
    first = encode(counted, table.slice(0, 10), 128)
    again = encode(counted, table.slice(5, 10), 128)
    assert calls == [10, 5]
    assert again[:5] == first[5:]
    short = encode(counted, table.slice(0, 10), 3)
    encode(counted, table.slice(0, 10), 128)
    assert calls == [10, 5, 10, 10]  # those that are too long are cut in a second call
    assert max(map(len, short)) == 3
    assert all(ids[-1] == base.tokenizer.sep_token_id for ids in short)
