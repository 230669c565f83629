"""Contract of every type that peft lists: it is trained, kept and restored, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from base_state import state_of
from hf_trainer import build_without_dropout, load, training_rows
from kept_tiny import keep
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft_settings import make_peft_spec

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.result import Results
from xlt.trainables.spec.adapters import REFUSED, TYPES, VIRTUAL_TOKENS, Peft
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.training.classification import fit_classifier
from xlt.trainables.training.loop import predict
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # advice of peft
    pytest.mark.usefixtures("one_thread"),
]
CASES = [
    (architecture, name)
    for architecture in ("bert", "llama")
    for name in TYPES
    if architecture == "bert" or name not in ("PROMPT_TUNING", "P_TUNING")
]


def test_every_type_of_peft_is_listed_once() -> None:
    listed = [*TYPES, *REFUSED]
    assert sorted(listed) == sorted(kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_type_says_why(name: str) -> None:
    with pytest.raises(InputError) as error:
        Peft.parse({"peft_type": name})
    assert f"{name} {REFUSED[name]}; give another type" in str(error.value)


@pytest.mark.parametrize(("architecture", "name"), CASES)
def test_adapters_and_head_are_trained_and_nothing_else(
    architecture: str, name: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_peft_spec(make_spec, architecture, name)
    base = load(spec)
    before = state_of(base)
    model = build_without_dropout(spec)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    starts = {n: p.detach().clone() for n, p in trained.items()}
    fit_classifier(model, *training_rows(spec, tiny_dataset), spec, lambda *_: None)
    moved = {n for n, p in trained.items() if not torch.equal(p, starts[n])}
    head = {n for n in trained if ".modules_to_save." in n}
    names = {n.replace(".modules_to_save.default", "").rpartition(".")[0] for n in head}
    assert names == {f"base_model.model.{part}" for part in base.head_modules} or names == {
        f"base_model.{part}" for part in base.head_modules
    }
    assert head <= moved and moved - head
    assert state_of(base) == before


@pytest.mark.parametrize(("architecture", "name"), CASES)
def test_a_kept_classifier_is_restored_and_does_not_depend_on_the_batch(
    architecture: str, name: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_peft_spec(make_spec, architecture, name)
    trial, results = keep(spec, tiny_dataset, tmp_path)
    table = results.read_table(trial.trial_id, "predictions")
    written = table["y_score"].to_numpy()
    assert np.ptp(written) > (1e-2 if architecture == "llama" else 1e-6)
    base, model = load_kept_model(spec, results, 2)
    ids = encode(base, tiny_dataset.rows(table["id"].to_pylist()), 128)
    np.testing.assert_allclose(predict(model, ids, spec), written, rtol=0, atol=1e-7)
    long = [*ids, ids[0] * 3]
    np.testing.assert_allclose(predict(model, long, spec)[:-1], written, rtol=0, atol=1e-5)
    np.testing.assert_allclose(predict(model, ids, spec, batch_size=1), written, rtol=0, atol=1e-5)

    plain = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path, num_labels=2, pad_token_id=base.tokenizer.pad_token_id
    )
    folder = tmp_path / "trials" / trial.trial_id / "model"
    plain = peft.PeftModel.from_pretrained(plain, folder)
    plain.config.sep_token_id = base.model.config.sep_token_id
    np.testing.assert_allclose(predict(plain, ids, spec), written, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("llama", "ADALORA"), ("llama", "VBLORA"), ("llama", "SHIRA"), ("bert", "P_TUNING")],
)
def test_a_resumed_trial_has_the_same_bytes_and_micro_batches_the_same_losses(
    architecture: str, name: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_peft_spec(make_spec, architecture, name)
    whole = run_trial(spec, tiny_dataset, keep_models="all")
    results = Results(str(tmp_path))
    results.prepare()
    for last in (2, 4, 6, 7):  # AdaLoRA: before, at and after the end of the allocation
        asked = iter(range(100))
        stops = Checkpoints(
            results, spec.trial_id, 0, {}, lambda asked=asked, last=last: next(asked) >= 2 * last
        )
        with pytest.raises(PreemptedError):
            run_trial(spec, tiny_dataset, checkpoints=stops)
        rest = Checkpoints(results, spec.trial_id, 60, {})
        resumed = run_trial(spec, tiny_dataset, keep_models="all", checkpoints=rest)
        assert rest.resumed_at and resumed.model == whole.model
        results.remove_checkpoint(spec.trial_id)
    if architecture == "llama":  # BERT's dropout draws for each pass
        changed = {"resources": {"micro_batch_size": 3}}
        parts = run_trial(make_peft_spec(make_spec, architecture, name, **changed), tiny_dataset)
        np.testing.assert_allclose(parts.history["loss"], whole.history["loss"], atol=1e-5)


def test_two_stages_train_the_same_adapters(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    training = {"num_train_epochs": 1, "batch_size": 8, "max_length": 64, "regime": "sequential"}
    spec = make_peft_spec(make_spec, "llama", "IA3", training=training)
    first, again = (run_trial(spec, tiny_dataset, keep_models="all") for _ in range(2))
    assert first.model == again.model
    assert first.history["stage"].to_pylist() == [1, 1, 1, 2]
    assert spec.first_stage is None  # its weights are trained, not taken from another trial


@pytest.mark.parametrize("name", ["IA3", "PREFIX_TUNING"])
def test_a_base_model_in_bf16_trains_adapters_in_fp32(
    name: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    training = {"num_train_epochs": 2, "batch_size": 8, "max_length": 64}
    whole, low = (
        run_trial(
            make_peft_spec(make_spec, "llama", name, training=training | {"precision": precision}),
            tiny_dataset,
            keep_models="all",
        )
        for precision in ("fp32", "bf16")
    )
    np.testing.assert_allclose(low.history["loss"], whole.history["loss"], atol=2e-2)
    assert len(low.model["adapter_model.safetensors"]) == len(
        whole.model["adapter_model.safetensors"]
    )


@pytest.mark.parametrize(
    ("architecture", "name"), [("bert", "PROMPT_TUNING"), ("llama", "PREFIX_TUNING")]
)
@pytest.mark.parametrize(("method", "more"), [("ig", {"num_steps": 64}), ("occlusion", {})])
def test_texts_behind_virtual_tokens_are_explained(
    method: str,
    more: dict[str, int],
    architecture: str,
    name: str,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
) -> None:
    spec = make_peft_spec(make_spec, architecture, name)
    settings = Explain.parse({"method": method, "rows": 2, **more})
    result = run_trial(spec, tiny_dataset, explain=settings)
    assert result.attributions and result.attributions.table is not None
    table = result.attributions.table
    scores = dict(zip(*(result.predictions[n].to_pylist() for n in ("id", "y_score")), strict=True))
    for row in table.to_pylist():
        assert row["p_original"] == pytest.approx(scores[row["id"]], abs=1e-6)
        if method == "ig":  # they sum to the difference from the masked text
            change = row["p_original"] - row["p_masked"]
            assert sum(row["coefficients"]) == pytest.approx(change, abs=2e-3)


@pytest.mark.parametrize("name", [n for n in VIRTUAL_TOKENS if n != "PREFIX_TUNING"])
def test_a_decoder_is_given_no_vectors_in_the_place_of_ids(
    name: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_peft_spec(make_spec, "llama", name)
    with pytest.raises(InputError, match=f"{name} gives llama vectors in the place of token ids"):
        run_trial(spec, tiny_dataset)


def test_virtual_tokens_need_positions_and_kept_activations(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    longest = {"training": {"max_length": 127}}
    spec = make_peft_spec(make_spec, "bert", "PROMPT_TUNING", **longest)
    message = "max_length 127 with 4 virtual tokens is more than the 128 tokens.*at most 124"
    with pytest.raises(InputError, match=message):
        run_trial(spec, tiny_dataset)
    again = {"resources": {"gradient_checkpointing": True}}
    spec = make_peft_spec(make_spec, "bert", "PREFIX_TUNING", **again)
    with pytest.raises(InputError, match="gradient checkpointing drops them"):
        run_trial(spec, tiny_dataset)


def test_an_architecture_without_room_for_keys_is_refused(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_peft_spec(make_spec, "bert", "MISS", peft={"r": 64})
    with pytest.raises(InputError, match=r"peft cannot add adapters to bert: `r` \(64\) must be"):
        run_trial(spec, tiny_dataset)
