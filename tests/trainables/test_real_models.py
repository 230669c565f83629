"""The contract of base models on real checkpoints, which tests/support/real_checkpoints.py makes.

Their files differ from those of tiny checkpoints: ids that disagree, a tokenizer that pads by
itself, a vocabulary of 250,000 tokens, a pad token that also ends turns of a dialogue.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pyarrow.parquet as pq
import pytest
import torch
import transformers
import yaml
from hf_trainer import build_without_dropout, load, train_both, training_rows
from real_checkpoints import RECIPES, Unavailable, find_checkpoint

from xlt.data.dataset.schema import Dataset
from xlt.sweep.cli.main import main
from xlt.trainables.loading.batching import collate_for
from xlt.trainables.loading.tokenize import tokenize
from xlt.trainables.models.weights_folder import read_checkpoint
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

PAD_TOKENS = {
    "multilingual-e5-small": ("<pad>", 1),
    "smollm2-135m": ("<|im_end|>", 2),
    "all-minilm-l6-v2": ("[PAD]", 0),
}
"""Name -> pad token and id in the tokenizer files of the publishers."""
TRIALS: dict[str, dict[str, Any]] = {
    "multilingual-e5-small": {"method": "full", "learning_rate": 5e-5},
    "smollm2-135m": {"method": "lora", "learning_rate": 5e-4},
    "all-minilm-l6-v2": {"method": "lora", "learning_rate": 5e-4},
}
"""Name -> fine-tuning of its trial: each method, on an encoder and on a decoder."""
TEXTS = [
    "Rain.",
    "東京では今日、雨が降る。",
    "The board approved a plan to cut carbon emissions, and the shares of the company rose.",
    "気候変動への対策として、政府は石炭火力発電所を段階的に廃止する方針を発表した。" * 3,
]


@pytest.fixture(scope="module", params=RECIPES)
def folder(request: pytest.FixtureRequest) -> Path:
    try:
        return find_checkpoint(request.param)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def spec(folder: Path, make_spec: Callable[..., TrialSpec]) -> TrialSpec:
    torch.set_num_threads(1)  # as in a trial with one CPU
    return make_spec(
        "bert", base_model=folder.name, base_path=str(folder),
        base_identity=f"test:{folder.name}",
        training={"num_train_epochs": 1, "batch_size": 8, "max_length": 64}, **TRIALS[folder.name],
    )  # fmt: skip


def test_the_plan_and_the_trial_pad_with_the_same_token(folder: Path, spec: TrialSpec) -> None:
    base = load(spec)
    token, number = PAD_TOKENS[folder.name]
    assert read_checkpoint(folder).pad_token == base.tokenizer.pad_token == token
    assert base.model.config.pad_token_id == base.tokenizer.pad_token_id == number


def test_token_ids_have_neither_padding_nor_the_cut_of_the_files(spec: TrialSpec) -> None:
    base = load(spec)
    (short, long), cut = tokenize(base, ["Rain.", "rain " * 300], None, 400)
    assert base.tokenizer.pad_token_id not in short
    assert len(short) < 8 and len(long) >= 300
    assert cut == []


def test_a_score_depends_neither_on_padding_nor_on_the_batch(spec: TrialSpec) -> None:
    model = build_without_dropout(spec).eval()
    token_ids, _ = tokenize(load(spec), TEXTS, None, 64)

    def logits(rows: list[list[int]], width: int = 0) -> Any:
        longer = [*rows, [1] * max(width, *map(len, rows))]
        batch = collate_for(model, longer)
        with torch.inference_mode():
            output = model(**{name: tensor[: len(rows)] for name, tensor in batch.items()})
        return output.logits.numpy()

    alone = np.concatenate([logits([ids]) for ids in token_ids])
    assert np.ptp(alone, axis=0).min() > 1e-3  # equal scores would say nothing
    padded = np.concatenate([logits([ids], width=80) for ids in token_ids])
    np.testing.assert_allclose(padded, alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(logits(token_ids), alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(logits(token_ids[::-1])[::-1], alone, atol=1e-5, rtol=0)


def test_a_kept_model_is_restored_by_transformers_and_peft(
    folder: Path, spec: TrialSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    result = run_trial(spec, tiny_dataset, keep_models="all")
    for name, content in result.model.items():
        (tmp_path / name).write_bytes(content)
    auto = transformers.AutoModelForSequenceClassification
    if spec.method == "full":
        model = auto.from_pretrained(tmp_path)
    else:
        pad = PAD_TOKENS[folder.name][1]
        model = auto.from_pretrained(folder, num_labels=2, pad_token_id=pad, dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(model, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = tiny_dataset.rows(result.predictions["id"].to_pylist())["text"].to_pylist()
    scores = []
    with torch.inference_mode():
        for text in texts:
            logits = model.eval()(**tokenizer(text, return_tensors="pt")).logits
            scores.append(logits.double().softmax(-1)[0, 1].item())
    assert np.ptp(scores) > 1e-3
    np.testing.assert_allclose(result.predictions["y_score"].to_pylist(), scores, atol=1e-5)


def test_twenty_losses_are_those_of_the_hf_trainer(
    spec: TrialSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    # At a rate of 5e-4 the steps of AdamW magnify rounding of the LoRA weights to 5e-4 in a loss.
    changes: dict[str, Any] = {
        "learning_rate": min(spec.learning_rate, 1e-4),
        "training": spec.training.model_dump() | {"num_train_epochs": 5},
        "lora": {"lora_dropout": 0.0} if spec.method == "lora" else None,
    }
    longer = TrialSpec.parse(spec.model_dump() | changes)
    token_ids, labels = training_rows(longer, tiny_dataset)
    history, trainer = train_both(longer, token_ids, labels, tmp_path)
    assert len(history) == 20
    assert np.ptp(trainer.losses) > 1e-2  # something was learnt, so equality says something
    np.testing.assert_allclose(history["loss"].to_pylist(), trainer.losses, atol=1e-4, rtol=0)


def test_plan_check_and_show(
    folder: Path, tiny_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
    data = {"source": "table", "path": str(tmp_path / "rows.parquet"), "positive": ["1"]}
    data["leak_check"] = False  # one word of a text gives its label
    values = {
        "name": "real",
        "data": data,
        "models": [{"name": folder.name, "path": str(folder)}],
        "patterns": [{"ja8": {"source_rows": 24}}],
        "seeds": [0],
        "sampling": {"test_rows": 20},
        "training": {"num_train_epochs": 1, "batch_size": 8, "max_length": 64},
        "storage": {"results": str(tmp_path / "results")},
    }
    file = tmp_path / "real.yaml"
    file.write_text(yaml.safe_dump(values))
    assert main(["plan", str(file)]) == 0
    planned = capsys.readouterr().out
    assert PAD_TOKENS[folder.name][0] in planned
    assert "1 trials = 1 cells" in planned
    assert main(["check", str(file)]) == 0
    assert "Nothing found that would stop or spoil the run." in capsys.readouterr().out
    assert main(["data", "show", str(file), "--model", str(folder)]) == 0
    assert "tokens a text" in capsys.readouterr().out
