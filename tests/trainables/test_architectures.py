"""Contract tests of every listed architecture."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from tiny_checkpoints import save_checkpoint

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines.embed import embed_rows
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.batching import collate
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.models.architectures import ARCHITECTURES, derive_kind, read_max_positions
from xlt.trainables.models.model_config import read_config
from xlt.trainables.models.weights_folder import check_files, read_checkpoint
from xlt.trainables.spec.methods import Embed
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MAX_LENGTH = 100
MakeSpec = Callable[..., TrialSpec]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_dataset: Dataset,
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    save_checkpoint(request.param, tiny_dataset.table["text"].to_pylist(), folder)
    return folder


@pytest.fixture
def spec(folder: Path, make_spec: MakeSpec) -> TrialSpec:
    return make_spec(
        "llama", base_model="tiny", base_path=str(folder), base_identity=f"test:{folder.name}",
        learning_rate=2e-2,
        training={"num_train_epochs": 2, "batch_size": 8, "max_length": MAX_LENGTH},
    )  # fmt: skip


def token_ids(base: Base, dataset: Dataset) -> list[list[int]]:
    """Texts of different lengths, the longest thrice as long as the shortest."""
    encoded = encode(base, dataset.table.slice(0, 8), MAX_LENGTH)
    inner = [ids[1:-1] for ids in encoded]
    return [ids[:1] + middle * (1 + n % 3) + ids[-1:] for n, (ids, middle) in
            enumerate(zip(encoded, inner, strict=True))]  # fmt: skip


def logits(base: Base, rows: list[list[int]], extra: int = 0, **inputs: Any) -> Any:
    """Logits of a batch, padded by ``extra`` more columns than it needs."""
    config = base.model.config
    padded = [*rows, [1] * (max(map(len, rows)) + extra)]
    batch = collate(padded, config.pad_token_id, CPU, config.sep_token_id)
    with torch.inference_mode():
        logits_output = base.model(**{name: tensor[: len(rows)] for name, tensor in batch.items()})
    return logits_output.logits.numpy()


def test_files_tell_what_it_is(folder: Path, spec: TrialSpec) -> None:
    checkpoint = read_checkpoint(folder)
    check_files(folder)
    listed = ARCHITECTURES[checkpoint.model_type]
    base = load_base(spec, CPU, torch.float32)
    assert (checkpoint.kind, checkpoint.linear) == (listed.kind, listed.linear)
    assert checkpoint.pad_token == base.tokenizer.pad_token
    assert base.model.config.pad_token_id == base.tokenizer.pad_token_id
    inside = f"{base.model.base_model_prefix}."
    biases = [n for n, p in base.model.named_parameters() if n.startswith(inside) and p.ndim == 1]
    assert checkpoint.has_biases == any(name.endswith("bias") for name in biases)
    unlisted = read_config(folder) | {"model_type": "new-type"}
    assert derive_kind(unlisted) == listed.kind


def test_all_linear_is_the_listed_modules(spec: TrialSpec) -> None:
    base = load_base(spec, CPU, torch.float32)
    model = METHODS["lora"](base, spec)
    adapted = {
        name.removeprefix("base_model.model.")
        for name, module in model.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    assert {name.rpartition(".")[2] for name in adapted} == set(
        ARCHITECTURES[base.model.config.model_type].linear
    )
    assert not adapted & set(base.head_modules)
    trained = {
        name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".lora_" not in name
    }
    head = {
        f"{name}.{own}"
        for name in base.head_modules
        for own, _ in base.model.get_submodule(name).named_parameters(recurse=False)
    }
    assert trained == head


def test_embeddings_are_means_of_the_plain_model(
    folder: Path, spec: TrialSpec, tiny_dataset: Dataset
) -> None:
    changes = {"method": "embed", "lora": None, "learning_rate": None, "embed": Embed()}
    embed = spec.model_copy(update=changes)
    rows = tiny_dataset.table.slice(0, 2)
    embeddings = embed_rows(load_base(embed, CPU, torch.float32), rows, embed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    plain = transformers.AutoModel.from_pretrained(folder).eval()
    for text, embedding in zip(rows["text"].to_pylist(), embeddings, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            hidden = plain(input_ids=ids).last_hidden_state
        np.testing.assert_allclose(embedding, hidden[0].mean(0).numpy(), rtol=0, atol=1e-5)


def test_a_prediction_does_not_depend_on_batch_and_padding(
    spec: TrialSpec, tiny_dataset: Dataset
) -> None:
    base = load_base(spec, CPU, torch.float32)
    rows = token_ids(base, tiny_dataset)
    alone = np.concatenate([logits(base, [ids]) for ids in rows])
    assert np.ptp(alone, axis=0).min() > 1e-3  # equal scores would say nothing
    np.testing.assert_allclose(logits(base, rows), alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(logits(base, rows[::-1], extra=9)[::-1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "folder", [n for n, a in ARCHITECTURES.items() if a.kind == "decoder"], indirect=True
)
def test_a_decoder_reads_the_same_with_padding_on_the_left(
    spec: TrialSpec, tiny_dataset: Dataset
) -> None:
    """An encoder reads the first token, so its padding goes to the right."""
    base = load_base(spec, CPU, torch.float32)
    rows = token_ids(base, tiny_dataset)
    right = collate(rows, base.tokenizer.pad_token_id, CPU)
    width = right["input_ids"].shape[1]
    left = {
        name: torch.stack([t.roll(width - len(ids)) for t, ids in zip(tensor, rows, strict=True)])
        for name, tensor in right.items()
    }
    if "position_ids" in inspect.signature(base.model.forward).parameters:
        left["position_ids"] = (left["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        padded_logits = base.model(**left).logits.numpy()
    np.testing.assert_allclose(padded_logits, logits(base, rows), atol=1e-5, rtol=0)


def test_the_end_of_a_text_is_never_taken_for_padding(spec: TrialSpec) -> None:
    base = load_base(spec, CPU, torch.float32)
    end = base.tokenizer.eos_token_id or base.tokenizer.sep_token_id
    assert end != base.tokenizer.pad_token_id
    rows = [[5, 6, 7], [5, 6, 7, end], [5, 6, 7, end, end]]
    together = logits(base, rows)
    assert len(np.unique(together.round(6), axis=0)) == 3
    np.testing.assert_allclose(together[1:2], logits(base, rows[1:2]), atol=1e-5, rtol=0)


def test_a_text_as_long_as_the_positions_is_read(spec: TrialSpec, folder: Path) -> None:
    base = load_base(spec, CPU, torch.float32)
    longest = read_max_positions(read_config(folder))
    assert longest == base.max_positions
    rows = [[5 + n % 7 for n in range(longest or 300)]]
    assert np.isfinite(logits(base, rows)).all()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_was_trained_is_restored_by_transformers_and_peft(
    method: str, spec: TrialSpec, folder: Path, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    trial = TrialSpec.parse(spec.model_dump(exclude={"lora"}) | {"method": method})
    base = load_base(trial, CPU, torch.float32)
    result = run_trial(trial, tiny_dataset, keep_models="all")
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    auto = transformers.AutoModelForSequenceClassification
    if method == "full":
        model = auto.from_pretrained(tmp_path)
    else:
        model = auto.from_pretrained(folder, num_labels=2)
        model.config.pad_token_id = base.tokenizer.pad_token_id
        model = peft.PeftModel.from_pretrained(model, tmp_path)
    rows = tiny_dataset.rows(result.predictions["id"].to_pylist())
    ids = encode(base, rows, MAX_LENGTH)
    scores = []
    with torch.inference_mode():
        for row in ids:
            batch = collate([row], 0, CPU, base.model.config.sep_token_id)
            scores.append(model.eval()(**batch).logits.double().softmax(-1)[0, 1].item())
    assert np.ptp(scores) > 0
    np.testing.assert_allclose(result.predictions["y_score"].to_pylist(), scores, atol=1e-5)


def test_adapters_and_head_are_trained_in_fp32_on_bf16_weights(spec: TrialSpec) -> None:
    base = load_base(spec, CPU, torch.bfloat16)
    model = METHODS["lora"](base, spec)
    dtypes = {p.requires_grad: p.dtype for p in model.parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("q_prj", "unknown module 'q_prj'. Did you mean 'q_proj'?"),
        ("layers.7.self_attn.q_proj", "unknown module 'layers.7.self_attn.q_proj'"),
        ("score", "unknown module 'score'"),
    ],
)
def test_the_error_of_unknown_target_modules_lists_the_nearest(
    target: str, message: str, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec("llama", lora={"target_modules": ["v_proj", target]})
    with pytest.raises(InputError) as error:
        run_trial(spec, tiny_dataset)
    assert str(error.value).startswith(f"lora.target_modules: {message}")
