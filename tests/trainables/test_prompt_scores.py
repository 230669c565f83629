"""Prompts: their scores equal those of plain transformers without cache, batch or padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoints import save_checkpoint, save_unlisted_checkpoint
from tiny_prompts import (
    TEMPLATE,
    drawn_rows,
    few,
    fill,
    plain_probabilities,
    read_scores,
    shot_order,
)
from tiny_tasks import pairs, three_classes

from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines import prompt_scores
from xlt.trainables.baselines.prompt_scores import calibrate
from xlt.trainables.baselines.prompt_texts import CONTENT_FREE
from xlt.trainables.baselines.prompt_tokens import encode_prompts
from xlt.trainables.loading import base as loading
from xlt.trainables.loading.base import load_base
from xlt.trainables.models.architectures import ARCHITECTURES
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]


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
