"""Prompts: their texts, with and without a chat template, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from tiny_checkpoints import save_unlisted_checkpoint
from tiny_prompts import (
    drawn_rows,
    fill,
    plain_probabilities,
    read_scores,
    shot_order,
)

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines.prompt_texts import Writer, _find_lead, cut_texts
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]

CHAT = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
"""A template as ChatML's, with the tokens of the tiny tokenizers."""


def test_braces_in_a_text_are_text() -> None:
    writer = Writer("{{x}} {text}?", ("a", "b"), "", ((("{text_pair}", None), 1),))
    assert writer.write(("{text}", None)) == "{x} {text_pair}?b\n\n{x} {text}?"


@pytest.fixture
def chat_base(tiny_base: Callable[[str], Path], tmp_path: Path) -> Path:
    """The tiny Llama with a chat template."""
    folder = tmp_path / "chat"
    transformers.AutoModelForCausalLM.from_pretrained(tiny_base("llama")).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base("llama"))
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


def test_rows_and_words_are_turns_of_a_chat(
    chat_base: Path, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    settings = {"instructions": {"ja": "Answer."}}
    spec = make_prompt(
        shots=2, base_path=str(chat_base), base_identity="test:chat", prompt=settings
    )
    result = run_trial(spec, tiny_dataset)
    train, test = drawn_rows(tiny_dataset, spec)
    words = ["goal", "waste"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat_base)
    prompts = []
    for row in test:
        turns = []
        for n in shot_order(result):
            turns.append({"role": "user", "content": fill(train[n]).strip()})
            turns.append({"role": "assistant", "content": words[train[n]["label"]]})
        turns.append({"role": "user", "content": fill(row).strip()})
        turns[0]["content"] = "Answer.\n\n" + turns[0]["content"]
        prompts.append(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )
    expected = plain_probabilities(chat_base, prompts, words, special=False)[:, 1]
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-6)
    assert result.execution["uses_chat"]
    off = spec.model_copy(update={"prompt": spec.prompt.model_copy(update={"chat": "off"})})
    assert not run_trial(off, tiny_dataset).execution["uses_chat"]


def test_a_space_before_an_answer_is_that_of_the_chat_template(
    chat_base: Path,
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat_base)
    assert _find_lead(tokenizer) == ""
    tokenizer.chat_template = (  # Llama-2's, without its system turn
        "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
    )
    assert _find_lead(tokenizer) == " "


def test_a_chat_template_may_not_write_the_date_of_today(
    chat_base: Path,
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat_base)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}"
    writer = Writer("{text}?", ("a", "b"), "", (), tokenizer)
    assert writer.write(("x", None)) == "26 Jul 2024 x?"


def test_a_model_that_reads_ahead_is_refused(
    tmp_path: Path, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    save_unlisted_checkpoint("xlnet", tiny_dataset.table["text"].to_pylist(), tmp_path)
    with pytest.raises(InputError, match="xlnet reads ahead: later tokens change the logits of"):
        run_trial(make_prompt(base_path=str(tmp_path), base_identity="x:xlnet"), tiny_dataset)


def test_an_encoder_is_refused(tiny_dataset: Dataset, make_prompt: MakeSpec) -> None:
    with pytest.raises(InputError, match="bert is an encoder, which predicts no next token"):
        run_trial(make_prompt("bert"), tiny_dataset)


def test_a_checkpoint_without_output_layer_is_refused(
    tiny_base: Callable[[str], Path], tmp_path: Path, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    auto = transformers.AutoModelForSequenceClassification
    auto.from_pretrained(tiny_base("llama")).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_base("llama")).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lacks 1 weights of a language model, e\.g\. lm_head"):
        run_trial(make_prompt(base_path=str(tmp_path), base_identity="x:score"), tiny_dataset)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"label_words": {"ja": {"negative": "carbon", "positive": "carbonate"}}},
            "the label words 'carbon' and 'carbonate' share their first token 'Ġcarbon'",
        ),
        (
            {"label_words": {"ja": {"negative": "waste", "positive": "zzz"}}},
            "'waste', 'zzz' do not begin after the same tokens of a prompt, because some join",
        ),
        ({"chat": "on"}, "prompt.chat is on, but the tokenizer has no chat template; give"),
        ({"max_shots": 9, "templates": {"ja": "word " * 99 + "{text}:"}}, "set prompt.max_shots"),
    ],
    ids=["shared", "joined", "chat", "long"],
)
def test_prompts_that_cannot_be_made_are_refused(
    settings: dict[str, Any], sentence: str, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    with pytest.raises(InputError) as caught:
        run_trial(make_prompt(prompt=settings), tiny_dataset)
    assert len(caught.value.problems) == 1
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("base model 'tiny-llama': ")


def test_a_zero_shot_prompt_that_is_too_long_names_the_template(
    tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    settings = {"templates": {"ja": "word " * 99 + "{text}:"}}
    with pytest.raises(InputError, match=r"the model has 128 positions; shorten the template"):
        run_trial(make_prompt(shots=0, prompt=settings), tiny_dataset)


@pytest.mark.parametrize(
    ("token", "named"),
    [("waste", "the label words"), ("news", "the common beginning"), ("[MASK]", "[MASK]")],
)
def test_tokens_without_an_embedding_are_refused(
    token: str, named: str, chat_base: Path, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat_base)
    tokenizer.add_tokens([token])
    tokenizer.save_pretrained(chat_base)
    template = "news: {text}\nlabel:\n"
    settings = {"calibration": "contextual", "chat": "off", "templates": {"ja": template}}
    spec = make_prompt(base_path=str(chat_base), base_identity=f"x:{token}", prompt=settings)
    with pytest.raises(InputError) as caught:
        run_trial(spec, tiny_dataset)
    assert "texts have tokens beyond the" in str(caught.value)
    assert str(caught.value).startswith("base model 'tiny-llama': ")
    assert f"{named!r}" in str(caught.value)


def test_texts_are_cut_and_the_template_is_not(
    tiny_base: Callable[[str], Path], tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    spec = make_prompt(training={"max_length": 3})
    assert run_trial(spec, tiny_dataset).execution["truncated_texts"] == {"train": 4, "test": 20}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base("llama"))
    texts = [("carbon board", None), ("炭素と株式", None)]
    cut, is_cut = cut_texts(tokenizer, texts, 2)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text, _ in texts]
    assert is_cut == [len(row) > 2 for row in ids]
    assert texts[1][0].startswith(cut[1][0])  # a character of several tokens is whole
    assert 2 <= len(tokenizer(cut[1][0], add_special_tokens=False)["input_ids"]) <= 4


def test_the_longer_text_of_a_pair_is_cut(tiny_base: Callable[[str], Path]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base("llama"))
    ((text, pair),), (is_cut,) = cut_texts(tokenizer, [("carbon", " waste" * 9)], 5)
    assert (text, is_cut) == ("carbon", True)
    assert pair is not None
    assert " waste" * 9 != pair == " waste" * pair.count("waste") != ""
