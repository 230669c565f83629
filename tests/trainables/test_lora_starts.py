"""Starts, patterns and layers of LoRA, against peft itself and on the original base model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from base_state import state_of
from hf_trainer import build_without_dropout, load
from kept_tiny import keep

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.inference.save import save_classifier
from xlt.trainables.loading.head import init_head
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.result import Results
from xlt.trainables.spec.adapters import Lora
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.training.loop import predict
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]

STARTS = ("gaussian", "orthogonal", "pissa", "pissa_niter_4", "olora")
NAMES = {"llama": "q_proj", "gpt_neox": "query_key_value", "bert": "query"}


def settings_of(architecture: str) -> dict[str, dict[str, Any]]:
    """Settings by a name, each with what sets it apart."""
    name = NAMES[architecture]
    patterns = {"rank_pattern": {name: 2}, "alpha_pattern": {f"layer.*1.*{name}": 5}}
    return {start: {"init_lora_weights": start} for start in STARTS} | {
        "patterns": patterns,
        "pissa with patterns": patterns | {"init_lora_weights": "pissa"},
        "pissa with rslora": {"init_lora_weights": "pissa", "use_rslora": True},
        "pissa with dora": {"init_lora_weights": "pissa", "use_dora": True},
        "layers": {"layers_to_transform": (1,), "target_modules": (name,)},
    }


KINDS = tuple(settings_of("llama"))
TAKING = [kind for kind in KINDS if kind.startswith(("pissa", "olora"))]


def make(make_spec: MakeSpec, architecture: str, kind: str, **changes: Any) -> TrialSpec:
    lora = settings_of(architecture)[kind] | {"lora_dropout": 0.0}
    return make_spec(architecture, method="lora", lora=lora, learning_rate=1e-2, **changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_adapters_are_those_of_peft_by_hand(
    architecture: str, kind: str, make_spec: MakeSpec
) -> None:
    spec = make(make_spec, architecture, kind)
    before = state_of(load(spec))
    ours = build_without_dropout(spec)
    assert state_of(load(spec)) == before  # peft takes weights away from a copy
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path, num_labels=2
    )
    init_head(model, load(spec).head_modules, derive_seed(spec.seed, "head"))
    torch.manual_seed(derive_seed(spec.seed, "adapters"))
    given = settings_of(architecture)[kind]
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}
    settings = {"target_modules": "all-linear"} | given
    pooler = ["bert.pooler"] if architecture == "bert" else []
    theirs = peft.get_peft_model(
        model,
        peft.LoraConfig(
            task_type="SEQ_CLS", r=8, lora_alpha=16, modules_to_save=pooler, **settings
        ),
    )
    expected, mine = dict(theirs.named_parameters()), dict(ours.named_parameters())
    assert list(mine) == list(expected)
    for name, parameter in expected.items():
        if kind == "pissa_niter_4" and ".lora_" in name:
            continue  # rounding turns the factors of a fast decomposition, not their product
        torch.testing.assert_close(mine[name], parameter, rtol=0, atol=1e-6, msg=name)
    scalings = [m.scaling for m in theirs.modules() if hasattr(m, "lora_A")]
    assert scalings == [m.scaling for m in ours.modules() if hasattr(m, "lora_A")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
def test_kept_adapters_fit_the_original_base_model(
    architecture: str, kind: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make(make_spec, architecture, kind)
    trial, results = keep(spec, tiny_dataset, tmp_path)
    table = results.read_table(trial.trial_id, "predictions")
    written = table["y_score"].to_numpy()
    base, model = load_kept_model(spec, results, 2)
    ids = encode(base, tiny_dataset.rows(table["id"].to_pylist()), 128)
    np.testing.assert_allclose(predict(model, ids, spec), written, atol=1e-5)

    plain = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path, num_labels=2, pad_token_id=base.tokenizer.pad_token_id
    )
    plain = peft.PeftModel.from_pretrained(plain, tmp_path / "trials" / trial.trial_id / "model")
    plain.config.sep_token_id = base.model.config.sep_token_id
    start = plain.peft_config["default"].init_lora_weights
    assert start == (True if kind in TAKING else spec.lora and spec.lora.init_lora_weights)
    np.testing.assert_allclose(predict(plain, ids, spec), written, atol=1e-5)
    assert np.ptp(written) > 5e-5  # else any two constant scores would be equal

    exported = tmp_path / "exported"
    exported.mkdir()
    assert save_classifier(trial, exported, merge=True).difference < 1e-5


def test_a_start_that_takes_weights_is_another_training(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    losses = {
        start: run_trial(make(make_spec, "llama", start), tiny_dataset).history["loss"].to_pylist()
        for start in ("gaussian", "pissa", "olora")
    }
    first = [values[0] for values in losses.values()]
    np.testing.assert_allclose(first, first[0], atol=1e-5)  # each start is the base model
    assert len({values[-1] for values in losses.values()}) == 3


def test_a_trial_is_the_same_on_a_warm_base_model_and_after_a_stop(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make(make_spec, "llama", "pissa_niter_4")
    whole = run_trial(spec, tiny_dataset, keep_models="all")
    run_trial(make(make_spec, "llama", "olora"), tiny_dataset)
    again = run_trial(spec, tiny_dataset, keep_models="all")
    assert whole.model == again.model and whole.history.equals(again.history)
    results = Results(str(tmp_path))
    results.prepare()
    steps = iter(range(100))
    stops = Checkpoints(results, spec.trial_id, 0, {}, lambda: next(steps) > 3)
    with pytest.raises(PreemptedError):
        run_trial(spec, tiny_dataset, keep_models="all", checkpoints=stops)
    rest = Checkpoints(results, spec.trial_id, 60, {})
    resumed = run_trial(spec, tiny_dataset, keep_models="all", checkpoints=rest)
    assert rest.resumed_at and resumed.model == whole.model


def test_only_plain_adapters_are_packed(make_spec: MakeSpec) -> None:
    packed = {kind for kind in KINDS if compute_pack_key(make(make_spec, "llama", kind))}
    assert packed == {"gaussian", "orthogonal"}


def test_new_settings_change_no_id_where_they_are_not_given(make_spec: MakeSpec) -> None:
    spec = make_spec("llama")
    assert spec.lora and set(spec.lora.model_dump()) == {
        "r", "lora_alpha", "lora_dropout", "target_modules"
    }  # fmt: skip
    ids = {make(make_spec, "llama", kind).trial_id for kind in KINDS}
    assert len({*ids, spec.trial_id}) == len(KINDS) + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_lora_weights": "pisa"}, "unknown start 'pisa'. Did you mean 'pissa'?"),
        ({"init_lora_weights": "eva"}, "eva is computed from the activations of training texts"),
        ({"init_lora_weights": "loftq"}, "set quantize_base: nf4 alone"),
        ({"init_lora_weights": "pissa", "quantize_base": "nf4"}, "which 4 bits cannot hold"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 4}}, "use_rslora is for equal ranks"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern.q_proj: should be greater than 0"),
        (
            {"target_modules": ["q_proj"], "rank_pattern": {"layers.0.q_proj": 2, "k_proj": 4}},
            "rank_pattern: k_proj gets no adapter, because target_modules are q_proj; add it there",
        ),
        ({"target_modules": []}, "target_modules is empty; give names, or all-linear"),
        ({"alpha_pattern": {"(q": 1}}, "'(q' is no regular expression"),
        ({"layers_to_transform": [0]}, "layers_to_transform needs names in target_modules"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Lora.parse(settings)
    assert message in str(error.value)


def test_a_pattern_without_a_module_is_refused(make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    spec = make_spec("llama", lora={"rank_pattern": {"q_prj": 4, "layers.1.*v_proj": 4}})
    with pytest.raises(InputError) as error:
        run_trial(spec, tiny_dataset)
    assert str(error.value).startswith(
        "lora.rank_pattern: unknown module 'q_prj'. Did you mean 'q_proj'?"
    )
