"""Prompts: their scores equal those of plain transformers without cache, batch or padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tiny_checkpoints import save_checkpoint, save_unlisted_checkpoint
from tiny_tasks import pairs, three_classes

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines import prompt_scores
from xlt.trainables.baselines.prompt_scores import calibrate
from xlt.trainables.baselines.prompt_texts import CONTENT_FREE, Writer, _find_lead, cut_texts
from xlt.trainables.baselines.prompt_tokens import encode_prompts
from xlt.trainables.loading import base as loading
from xlt.trainables.loading.base import load_base
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]

TEMPLATE = "news: {text}\nlabel: "
PROMPT: dict[str, Any] = {
    "templates": {"ja": TEMPLATE},
    "label_words": {"ja": {"negative": "goal", "positive": "waste"}},
}
CHAT = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
"""A template as ChatML's, with the tokens of the tiny tokenizers."""


def few(rows: int) -> dict[str, Any]:
    return {"name": f"ja{rows}", "target_lang": "ja", "target_rows": rows, "source_rows": 0}


@pytest.fixture
def make_prompt(make_spec: MakeSpec) -> MakeSpec:
    """A function: architecture, number of shots, settings of prompts, **changes -> TrialSpec."""

    def make(architecture: str = "llama", shots: int = 4, **changes: Any) -> TrialSpec:
        settings = PROMPT | changes.pop("prompt", {})
        fields = {"method": "prompt", "learning_rate": None, "pattern": few(shots)}
        return make_spec(architecture, **fields, prompt=settings, **changes)

    return make


def read_scores(result: TrialResult) -> NDArray[np.float64]:
    return np.array(result.predictions["y_score"].to_pylist())


def drawn_rows(dataset: Dataset, spec: TrialSpec) -> tuple[list[Any], list[Any]]:
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    train, test = (dataset.rows(list(ids)).to_pylist() for ids in (drawn.target, drawn.test))
    return train, test


def shot_order(result: TrialResult) -> list[int]:
    """The order in which a trial shows its training rows."""
    rng = np.random.default_rng(derive_seed(result.spec.seed, "shots"))
    return [int(n) for n in rng.permutation(result.spec.pattern.target_rows)]


def plain_probabilities(
    folder: Path, prompts: list[str], words: list[str], *, special: bool = True
) -> NDArray[np.float64]:
    """Softmax over the label words' first tokens: each prompt alone, one whole forward pass."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    rows = []
    for prompt in prompts:
        ids = [tokenizer(prompt + w, add_special_tokens=special)["input_ids"] for w in words]
        same = next(i for i in range(len(ids[0])) if len({row[i] for row in ids}) > 1)
        with torch.inference_mode():
            logits = model(torch.tensor([ids[0][:same]])).logits[0, -1].double()
        rows.append(logits.log_softmax(-1)[[row[same] for row in ids]].softmax(-1))
    return torch.stack(rows).numpy()


def fill(row: dict[str, Any], template: str = TEMPLATE) -> str:
    return template.replace("{text}", row["text"]).replace("{text_pair}", row["text_pair"] or "")


@pytest.mark.parametrize("shots", [0, 4])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_scores_equal_plain_forward_passes(
    architecture: str,
    shots: int,
    tiny_base: Callable[[str], Path],
    tiny_dataset: Dataset,
    make_prompt: MakeSpec,
) -> None:
    spec = make_prompt(architecture, shots, seed=3)
    result = run_trial(spec, tiny_dataset)
    train, test = drawn_rows(tiny_dataset, spec)
    words = ["goal", "waste"]
    head = "".join(f"{fill(train[n])}{words[train[n]['label']]}\n\n" for n in shot_order(result))
    prompts = [head + fill(row) for row in test + train]
    expected = plain_probabilities(tiny_base(architecture), prompts, words)[:, 1]
    np.testing.assert_allclose(read_scores(result), expected[:20], rtol=0, atol=1e-6)
    scores = result.train_rows["y_score"].to_pylist()
    np.testing.assert_allclose(scores, expected[20:], rtol=0, atol=1e-6)
    assert np.ptp(expected) > 1e-3  # else any two constant scores would be equal
    assert result.train_rows["id"].to_pylist() == [row["id"] for row in train]


def test_an_instruction_stands_before_everything(
    tiny_base: Callable[[str], Path], tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    spec = make_prompt(shots=0, prompt={"instructions": {"ja": "Answer carbon."}})
    _, test = drawn_rows(tiny_dataset, spec)
    prompts = ["Answer carbon.\n\n" + fill(row) for row in test]
    expected = plain_probabilities(tiny_base("llama"), prompts, ["goal", "waste"])[:, 1]
    scores = read_scores(run_trial(spec, tiny_dataset))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_three_classes_have_a_probability_each(
    tiny_base: Callable[[str], Path], make_prompt: MakeSpec
) -> None:
    dataset = three_classes()
    words = {"markets": "stocks", "sport": "match", "waste": "carbon"}
    spec = make_prompt(
        shots=0, data_fingerprint=dataset.fingerprint, prompt={"label_words": {"ja": words}}
    )
    _, test = drawn_rows(dataset, spec)
    expected = plain_probabilities(
        tiny_base("llama"), [fill(row) for row in test], ["stocks", "match", "carbon"]
    )
    result = run_trial(spec, dataset)
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-6)
    labels = [row["label"] for row in test]
    assert result.metrics["accuracy"] == np.mean(expected.argmax(1) == labels)
    few_shot = run_trial(spec.model_copy(update={"pattern": Pattern.parse(few(6))}), dataset)
    assert result.train_rows.schema == few_shot.train_rows.schema


def test_the_second_text_of_a_pair_has_its_place(
    tiny_base: Callable[[str], Path], make_prompt: MakeSpec
) -> None:
    dataset, template = pairs(), "{text_pair} after {text} is "
    spec = make_prompt(
        shots=0, data_fingerprint=dataset.fingerprint, prompt={"templates": {"ja": template}}
    )
    _, test = drawn_rows(dataset, spec)
    prompts = [fill(row, template) for row in test]
    expected = plain_probabilities(tiny_base("llama"), prompts, ["goal", "waste"])[:, 1]
    scores = read_scores(run_trial(spec, dataset))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_braces_in_a_text_are_text() -> None:
    writer = Writer("{{x}} {text}?", ("a", "b"), "", ((("{text_pair}", None), 1),))
    assert writer.write(("{text}", None)) == "{x} {text_pair}?b\n\n{x} {text}?"


def test_calibration_divides_by_texts_without_content() -> None:
    # By hand: the mean of the content-free rows is (.6, .4); .3/.6 : .7/.4 = .5 : 1.75.
    calibrated = calibrate(np.array([[0.3, 0.7]]), np.array([[0.5, 0.5], [0.7, 0.3]]))
    np.testing.assert_allclose(calibrated, [[0.5 / 2.25, 1.75 / 2.25]], rtol=1e-12)


def test_a_calibrated_trial_equals_a_calculation_by_hand(
    tiny_base: Callable[[str], Path], tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    spec = make_prompt(shots=0, prompt={"calibration": "contextual"})
    _, test = drawn_rows(tiny_dataset, spec)
    rows = [fill(row) for row in test]
    empty = [TEMPLATE.replace("{text}", text) for text in CONTENT_FREE]
    probabilities = plain_probabilities(tiny_base("llama"), rows + empty, ["goal", "waste"])
    negative, positive = (probabilities[:20] / probabilities[20:].mean(0)).T
    result = run_trial(spec, tiny_dataset)
    expected = positive / (positive + negative)
    np.testing.assert_allclose(read_scores(result), expected, rtol=0, atol=1e-6)
    assert (probabilities[20:].mean(0) - 0.5).max() > 0.01  # else there is nothing to correct


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


LISTED = sorted(name for name, listed in ARCHITECTURES.items() if listed.kind == "decoder")


@pytest.mark.parametrize("architecture", LISTED)
def test_neither_batch_nor_shared_beginning_changes_a_score(
    architecture: str,
    tmp_path: Path,
    tiny_dataset: Dataset,
    make_prompt: MakeSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_checkpoint(architecture, tiny_dataset.table["text"].to_pylist(), tmp_path)
    shots = 2  # the tiny models have 128 positions
    spec = make_prompt(shots=shots, base_path=str(tmp_path), base_identity=f"x:{architecture}")
    together = run_trial(spec, tiny_dataset)
    tokens = together.execution["tokens"]
    assert tokens["computed"] < 0.7 * tokens["without_sharing"]
    scores = read_scores(together)
    monkeypatch.setattr(prompt_scores, "BATCH_TOKENS", 1)
    loading._LOADED.clear()  # and its scores
    np.testing.assert_allclose(read_scores(run_trial(spec, tiny_dataset)), scores, atol=2e-5)
    monkeypatch.setattr("xlt.trainables.trial.run_baseline.shares_beginning", lambda name: False)
    whole = run_trial(spec, tiny_dataset)
    np.testing.assert_allclose(read_scores(whole), scores, rtol=0, atol=2e-5)
    assert whole.execution["tokens"]["computed"] == tokens["without_sharing"]
    assert np.ptp(scores) > 1e-3
    train, test = drawn_rows(tiny_dataset, spec)
    words = ["goal", "waste"]
    head = "".join(f"{fill(train[n])}{words[train[n]['label']]}\n\n" for n in shot_order(whole))
    plain = plain_probabilities(tmp_path, [head + fill(row) for row in test], words)[:, 1]
    np.testing.assert_allclose(scores, plain, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("architecture", "shares"), [("gemma3", True), ("qwen3_5", False)])
def test_only_the_text_model_of_a_multimodal_checkpoint_is_prompted(
    architecture: str, shares: bool, tmp_path: Path, tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    save_unlisted_checkpoint(architecture, tiny_dataset.table["text"].to_pylist(), tmp_path)
    spec = make_prompt(shots=2, base_path=str(tmp_path), base_identity=f"x:{architecture}")
    result = run_trial(spec, tiny_dataset)
    tokens = result.execution["tokens"]
    assert (tokens["computed"] < tokens["without_sharing"]) == shares  # qwen3_5 is not listed
    base = load_base(spec, torch.device("cpu"), torch.float32)
    prompts = encode_prompts(
        base.tokenizer,
        spec,
        tiny_dataset.classes,
        *(tiny_dataset.rows([r["id"] for r in rows]) for rows in drawn_rows(tiny_dataset, spec)),
    )
    for number in (0, 7, 19):
        ids = np.concatenate([prompts.beginning, prompts.rests[number]])
        with torch.inference_mode():
            logits = base.model(torch.from_numpy(ids)[None]).logits[0, -1].double()
        expected = logits[prompts.label_ids[number]].softmax(-1)[1]
        assert read_scores(result)[number] == pytest.approx(float(expected), abs=1e-5)


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


def test_the_seed_orders_the_shots_and_nothing_else(
    tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    few_shot = [run_trial(make_prompt(seed=seed), tiny_dataset) for seed in (0, 1)]
    assert not np.array_equal(*map(read_scores, few_shot))
    assert few_shot[0].train_rows["id"].equals(few_shot[1].train_rows["id"])
    zero_shot = [run_trial(make_prompt(shots=0, seed=seed), tiny_dataset) for seed in (0, 1)]
    np.testing.assert_array_equal(*map(read_scores, zero_shot))


def test_a_process_computes_equal_prompts_once(
    tiny_dataset: Dataset, make_prompt: MakeSpec
) -> None:
    loading._LOADED.clear()
    first = run_trial(make_prompt(shots=0), tiny_dataset)
    (base,) = loading._LOADED.values()
    base.model.forward = None  # a second pass would raise
    try:
        again = run_trial(make_prompt(shots=0, seed=1), tiny_dataset)
        with pytest.raises(TypeError):
            run_trial(make_prompt(shots=2), tiny_dataset)
    finally:
        loading._LOADED.clear()
    np.testing.assert_array_equal(read_scores(again), read_scores(first))


def test_a_trial_gives_equal_bytes_whatever_ran_before(
    tiny_dataset: Dataset, make_spec: MakeSpec, make_prompt: MakeSpec
) -> None:
    spec = make_prompt()
    loading._LOADED.clear()
    first = run_trial(spec, tiny_dataset, keep_models="all", explain=Explain(rows=2))
    run_trial(make_spec("llama"), tiny_dataset)  # a classifier on the same checkpoint
    again = run_trial(spec, tiny_dataset)
    for table in ("predictions", "train_rows", "history"):
        assert getattr(again, table).equals(getattr(first, table))
    assert (again.metrics, again.signature) == (first.metrics, first.signature)
    assert again.execution == first.execution
    assert (first.model, first.history.num_rows, first.convergence) == ({}, 0, {})
    assert first.attributions is not None
    assert "method prompt has no classifier" in first.attributions.error


def test_bf16_is_honoured(tiny_dataset: Dataset, make_prompt: MakeSpec) -> None:
    whole = run_trial(make_prompt(), tiny_dataset)
    half = run_trial(make_prompt(training={"precision": "bf16"}), tiny_dataset)
    assert half.signature["precision"] == "bf16"
    assert 0 < np.abs(read_scores(half) - read_scores(whole)).max() < 0.05
