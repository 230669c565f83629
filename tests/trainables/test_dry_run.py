"""The dry run against a real step: allocations of PyTorch's profiler, real parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from dry_run_specs import HEADS, LENGTH, ROWS, make_prompt_spec, make_spec
from measured_memory import allocated_peak, counted, real_peaks
from tiny_checkpoints import make_classifier, make_measured_config

from xlt.data.core.errors import InputError
from xlt.trainables.baselines.prompt_scores import compute_beginning, compute_last_logits
from xlt.trainables.estimates.dry_run import (
    UncountedError,
    dry_run,
)
from xlt.trainables.estimates.memory import PROCESS, Memory
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.config import load_config
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.methods.used_rows import restore_all_rows, train_used_rows
from xlt.trainables.spec.training import Training
from xlt.trainables.training.classification import fit_classifier

TOLERANCE = 0.15


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("size", ["tiny", "middle"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_memory_is_what_the_allocator_measures(
    architecture: str, size: str, method: str, checkpointing: bool
) -> None:
    spec = make_spec(method, gradient_checkpointing=checkpointing)
    memory = counted(spec, architecture, size).memory
    training, prediction = real_peaks(spec, architecture, size)
    assert memory.training == pytest.approx(training, rel=TOLERANCE)
    assert memory.base + memory.trained + memory.prediction == pytest.approx(
        prediction, rel=TOLERANCE
    )


def test_memory_of_training_the_used_embedding_rows() -> None:
    spec, config = make_spec("full"), make_measured_config("bert", "middle", vocab_size=100_000)
    torch.set_num_threads(1)
    num_tokens = 50
    texts = [[token % num_tokens] * LENGTH for token in range(2 * ROWS)]

    def train() -> object:
        base = Base(tokenizer=None, model=make_classifier(config), head_modules=HEADS["bert"])
        model: Any = METHODS["full"](base, spec)
        train_used_rows(model, base.model, texts)
        fit_classifier(model, texts, [0, 1] * ROWS, spec, lambda *_: None)
        return base, model

    settings: dict[str, Any] = {"device": "cpu", "rows": ROWS, "length": LENGTH}
    run = dry_run(spec, config, num_tokens=num_tokens, **settings)
    whole = dry_run(spec, config, **settings)
    table = 4 * 100_000 * config.hidden_size
    # The copy of the large table lives until its rows are replaced, before there is anything else.
    assert max(run.memory.training, run.memory.base + table) == pytest.approx(
        allocated_peak(train), rel=TOLERANCE
    )
    # Copy and two moments; the gradient of the table exists when most activations are freed.
    assert 3 * table < whole.memory.training - run.memory.training < 4 * table
    assert run.num_trained == whole.num_trained
    assert run.memory.prediction == pytest.approx(whole.memory.prediction + table, rel=0.1)


def test_memory_of_two_stages() -> None:
    """The second stage starts from a table of its own, which training leaves whole."""
    spec, config = make_spec("full"), make_measured_config("bert", "middle", vocab_size=100_000)
    torch.set_num_threads(1)
    num_tokens = 50
    texts = [[token % num_tokens] * LENGTH for token in range(2 * ROWS)]

    def train() -> object:
        base = Base(tokenizer=None, model=make_classifier(config), head_modules=HEADS["bert"])
        model: Any = METHODS["full"](base, spec)
        for initial in (base.model, model):
            train_used_rows(model, initial, texts)
            fitted = fit_classifier(model, texts, [0, 1] * ROWS, spec, lambda *_: None)
            rates = fitted.history["learning_rate"].to_pylist()
            decay = spec.training.weight_decay
            restore_all_rows(model, rates, decay, fitted.kept_steps)
        return base, model

    in_stages = spec.training.model_copy(update={"regime": "sequential"})
    staged = spec.model_copy(update={"training": in_stages})
    run = dry_run(
        staged, config, device="cpu", rows=ROWS, length=LENGTH, num_tokens=num_tokens
    )  # fmt: skip
    table = 4 * 100_000 * config.hidden_size
    # A third table lives while the rows are replaced, without gradients and activations.
    peak = max(run.memory.training, run.memory.base + run.memory.trained + 2 * table)
    assert peak == pytest.approx(allocated_peak(train), rel=TOLERANCE)


def test_resident_memory_adds_what_is_not_a_tensor() -> None:
    memory = Memory(
        base=800, trained=80, gradients=80, optimizer=160, activations=100, prediction=50
    )
    whole = PROCESS + 800 + 80 + 160 + 165
    assert memory.resident(0, writes_checkpoints=False) == whole + 80
    assert memory.resident(10, writes_checkpoints=True) == whole + 10 * 22 + 2 * (80 + 160)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_memory_in_bf16(method: str) -> None:
    spec = make_spec(method, "bf16")
    training, _ = real_peaks(spec, "llama", "middle")
    assert counted(spec, "llama").memory.training == pytest.approx(training, rel=TOLERANCE)


def test_a_gpu_computes_in_bf16_by_default() -> None:
    auto, fp32 = make_spec("lora", "auto"), make_spec("lora", "fp32")
    there = counted(auto, "llama", device="cuda").memory
    assert there == counted(make_spec("lora", "bf16"), "llama").memory
    assert there.base < 0.51 * counted(fp32, "llama", device="cuda").memory.base


def test_parts_are_those_of_the_real_model() -> None:
    for method in ("full", "lora"):
        model = make_classifier(make_measured_config("llama", "middle"))
        spec = make_spec(method)
        base = Base(tokenizer=None, model=model, head_modules=("score",))
        trained = [p for p in METHODS[method](base, spec).parameters() if p.requires_grad]
        counts = counted(spec, "llama")
        assert counts.num_parameters == model.num_parameters()
        assert counts.num_trained == sum(p.numel() for p in trained)
        assert counts.memory.gradients == 4 * counts.num_trained
        moments = 2 * 4 * counts.num_trained + 4 * len(trained)  # and a step counter each
        assert counts.memory.optimizer == moments


def test_a_mean_of_epochs_needs_one_more_copy_of_the_trained_weights() -> None:
    spec = make_spec("lora")
    training = {"num_train_epochs": 2, "average": {"last_k": 2}}
    training = Training.parse(spec.training.model_dump() | training)
    mean = spec.model_copy(update={"training": training})
    plain, averaged = (counted(s, "llama").memory for s in (spec, mean))
    assert plain.copies == 0 and averaged.copies == plain.trained
    assert averaged.peak == plain.peak + plain.trained
    kept = [m.resident(0, writes_checkpoints=True) for m in (plain, averaged)]
    assert kept[1] == kept[0] + 3 * plain.trained  # also twice in a checkpoint
    measured = real_peaks(mean, "llama", "middle")[0]
    assert averaged.training == pytest.approx(measured, rel=TOLERANCE)
    stopping = Training.parse(spec.training.model_dump() | {"early_stopping": {}})
    early = counted(spec.model_copy(update={"training": stopping}), "llama").memory
    assert early.training == averaged.training
    assert early.prediction == averaged.prediction + plain.optimizer
    assert averaged.shared(4, "fsdp", 2, is_full=False).copies == plain.trained // 4


def test_less_is_kept_with_checkpointing_and_smaller_micro_batches() -> None:
    whole = counted(make_spec("lora"), "llama").memory
    again = counted(make_spec("lora", gradient_checkpointing=True), "llama").memory
    single_row = counted(make_spec("lora"), "llama", rows=1).memory
    assert again.activations < 0.5 * whole.activations
    assert single_row.activations < 0.2 * whole.activations


def test_micro_batches_keep_the_gradients_of_those_before() -> None:
    """With full fine-tuning at one row, gradients are there while activations are at their most."""
    whole = counted(make_spec("full"), "llama", rows=1).memory
    alone = make_spec("full").model_copy(
        update={"training": make_spec("full").training.model_copy(update={"batch_size": 1})}
    )
    assert whole.training > counted(alone, "llama", rows=1).memory.training


def test_a_base_in_4_bits_takes_half_a_byte_a_parameter() -> None:
    spec = make_spec("lora")
    assert spec.lora
    quantised = spec.model_copy(
        update={"lora": spec.lora.model_copy(update={"quantize_base": "nf4"})}
    )
    run, whole = counted(quantised, "llama"), counted(spec, "llama")
    saved = run.matrices.num_frozen * (4 - 0.5 - 4 / 64)
    assert whole.memory.base - run.memory.base == pytest.approx(saved, abs=1)


def test_seven_billion_parameters_need_no_weights() -> None:
    config = transformers.LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=4,
        num_attention_heads=32,
    )  # fmt: skip
    spec = make_spec("lora", "auto")
    counts = dry_run(spec, config, device="cuda", rows=16, length=128)
    assert counts.memory.base == pytest.approx(2 * counts.num_parameters, rel=1e-3)


def test_workers_share_as_their_sharding_says() -> None:
    memory = Memory(
        base=800, trained=80, gradients=80, optimizer=160, activations=100, prediction=50
    )
    assert memory.training == 1220
    assert memory.peak == 1220
    assert memory.shared(1, "fsdp", 4, is_full=False) == memory
    assert memory.shared(4, "ddp", 4, is_full=False).training == 1220 + 80
    sharded = memory.shared(4, "fsdp", 4, is_full=False)
    assert (sharded.base, sharded.optimizer) == (200, 40)
    assert sharded.activations == 100 + 2 * 880 // 4
    full = memory.shared(4, "fsdp", 4, is_full=True)
    assert (full.base, full.activations) == (0, 100 + 2 * 80 // 4)


def test_what_cannot_be_counted_says_so(tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_thing"}')
    with pytest.raises(InputError, match="cannot read the config of 'no_such_thing'"):
        load_config(tmp_path)
    vision = transformers.ViTConfig()
    with pytest.raises(InputError, match="no sequence classifier"):
        dry_run(make_spec("full"), vision, device="cpu", rows=2, length=8)
    experts = transformers.MixtralConfig(
        vocab_size=100, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    with pytest.raises(UncountedError, match="cannot be counted"):
        dry_run(make_spec("full"), experts, device="cpu", rows=2, length=8)


@pytest.mark.parametrize("num_before", [0, 96])
def test_memory_of_prompts_is_what_the_allocator_measures(num_before: int) -> None:
    spec, config = make_prompt_spec(), make_measured_config("llama", "middle")
    torch.set_num_threads(1)

    def prompt() -> object:
        model = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
        ids, places = torch.full((ROWS, LENGTH), 5), torch.full((ROWS,), LENGTH - 1)
        with torch.inference_mode():
            beginning = compute_beginning(model, torch.full((1, num_before), 5))
            compute_last_logits(model, ids, places, beginning)
        return model

    memory = dry_run(
        spec, config, device="cpu", rows=ROWS, length=LENGTH, num_before=num_before
    ).memory
    assert (memory.trained, memory.gradients, memory.optimizer) == (0, 0, 0)
    assert memory.peak == pytest.approx(allocated_peak(prompt), rel=TOLERANCE)
