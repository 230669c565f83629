"""A frozen base in 4 bits by bitsandbytes and peft, on the CPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy as np
import peft
import pytest
import torch
import transformers
from repository import ROOT
from torch import nn

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.classifier import merge_adapters
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

pytestmark = pytest.mark.usefixtures("unpacked_four_bits")

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]
ARCHITECTURES = pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])


def quantized(make_spec: MakeSpec, architecture: str, **lora: Any) -> TrialSpec:
    return make_spec(
        architecture, method="lora", lora={"quantize_base": "nf4", **lora}, learning_rate=2e-2
    )


@ARCHITECTURES
def test_the_backbone_has_nf4_weights_and_the_head_has_not(
    architecture: str, make_spec: MakeSpec
) -> None:
    base = load_base(quantized(make_spec, architecture), CPU, torch.float32)
    plain = load_base(make_spec(architecture), CPU, torch.float32)
    whole = dict(plain.model.named_parameters())
    states = {}
    for name, module in base.model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            state: Any = module.weight.quant_state
            states[name] = (state.quant_type, state.nested)
            dequantized = bitsandbytes.functional.dequantize_4bit(module.weight.data, state)
            content, setting = bitsandbytes.functional.quantize_4bit(
                whole[f"{name}.weight"], quant_type="nf4", compress_statistics=True
            )
            expected = bitsandbytes.functional.dequantize_4bit(content, setting)
            torch.testing.assert_close(dequantized.float(), expected.float(), atol=0, rtol=0)
            assert not torch.equal(expected, whole[f"{name}.weight"])
        elif isinstance(module, nn.Linear):
            assert name in base.head_modules
    assert set(states.values()) == {("nf4", True)}
    num_linear = sum(isinstance(module, nn.Linear) for module in plain.model.modules())
    assert len(states) == num_linear - len(base.head_modules)


@ARCHITECTURES
def test_a_trial_learns_leaves_the_base_alone_and_is_restored_by_peft(
    architecture: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = quantized(make_spec, architecture)
    base = load_base(spec, CPU, torch.float32)
    before = base.weights_digest
    result = run_trial(spec, tiny_dataset, keep_models="all")
    del base.weights_digest
    assert base.weights_digest == before
    assert np.ptp(result.history["loss"].to_pylist()) > 1e-3
    assert run_trial(spec, tiny_dataset).history.equals(result.history)
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        spec.base_path,
        num_labels=2,
        pad_token_id=base.tokenizer.pad_token_id,
        device_map={"": "cpu"},
        dtype=torch.float32,
        quantization_config=transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=["score", "classifier", "bert.pooler"],
        ),
    )  # fmt: skip
    model = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    rows = tiny_dataset.rows(result.predictions["id"].to_pylist())
    scores = []
    with torch.inference_mode():
        for text in rows["text"].to_pylist():
            logits = model(**base.tokenizer(text, return_tensors="pt")).logits
            scores.append(logits.double().softmax(-1)[0, 1].item())
    np.testing.assert_allclose(result.predictions["y_score"].to_pylist(), scores, atol=1e-5)


def test_adapters_are_trained_in_fp32_beside_dora_and_checkpointing(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = quantized(make_spec, "llama", use_dora=True).model_copy(
        update={"resources": make_spec().resources.model_copy(
            update={"gradient_checkpointing": True})}
    )  # fmt: skip
    base = load_base(spec, CPU, torch.bfloat16)
    model = METHODS["lora"](base, spec)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert np.isfinite(run_trial(spec, tiny_dataset).history["loss"].to_numpy()).all()


def test_without_bitsandbytes_the_extra_is_named(
    make_spec: MakeSpec, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_base(make_spec("bert"), CPU, torch.float32)  # another one than below is kept
    monkeypatch.setattr("xlt.trainables.loading.base.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs bitsandbytes, .* 'xlt-sweep\[quantized\]'"):
        run_trial(quantized(make_spec, "llama"), tiny_dataset)


def test_full_fine_tuning_of_a_quantised_base_is_a_contradiction(make_spec: MakeSpec) -> None:
    with pytest.raises(InputError, match="lora settings are given but the method is full"):
        make_spec("llama", method="full", lora={"quantize_base": "nf4"})


def test_the_error_of_other_bits_lists_the_known_ones(make_spec: MakeSpec) -> None:
    with pytest.raises(InputError, match=r"lora\.quantize_base: should be 'nf4'"):
        make_spec("llama", lora={"quantize_base": "int8"})


def test_explanations_do_not_round_adapters_to_four_bits(make_spec: MakeSpec) -> None:
    spec = quantized(make_spec, "llama")
    model = METHODS["lora"](load_base(spec, CPU, torch.float32), spec)
    assert merge_adapters(model) is model
    plain = make_spec("llama")
    assert merge_adapters(METHODS["lora"](load_base(plain, CPU, torch.float32), plain)) is not model


def test_a_process_prints_nothing_about_kernels_of_bitsandbytes() -> None:
    program = "import xlt.trainables.trial.run_pack, sys; print(*sys.modules); import peft"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"peft", "bitsandbytes"} & {*done.stdout.split()}
    assert "bitsandbytes" not in done.stderr and "kernels" not in done.stderr


def test_prompts_read_a_base_in_4_bits(make_prompt: MakeSpec, tiny_dataset: Dataset) -> None:
    whole, small = (
        make_prompt(shots=2, prompt={"quantize_base": quantization})
        for quantization in (None, "nf4")
    )
    base = load_base(small, CPU, torch.float32)
    kinds = {name: type(module).__name__ for name, module in base.model.named_modules()}
    assert kinds["lm_head"] == "Linear"
    assert kinds["model.layers.0.mlp.up_proj"] == "Linear4bit"
    scores = [
        np.array(run_trial(spec, tiny_dataset).predictions["y_score"].to_pylist())
        for spec in (whole, small)
    ]
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.05
