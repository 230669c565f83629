"""A tokenizer that does not fit its model, and settings that fit neither, each in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.models.weights_folder import read_checkpoint
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]


@pytest.fixture
def folder(tiny_base: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base("llama"), tmp_path / "base"))


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(
    folder: Path, make_spec: MakeSpec
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(300)
    model.save_pretrained(folder)
    spec = make_spec("llama", base_path=str(folder), base_identity="test:small-embedding")
    with pytest.raises(InputError) as planned:
        read_checkpoint(folder)
    with pytest.raises(InputError) as loaded:
        load_base(spec, CPU, torch.float32)
    assert str(planned.value) == (
        "its tokenizer has 400 tokens, but the model has embeddings of 300; give the tokenizer "
        "that belongs to it"
    )
    assert str(loaded.value) == f"base model 'tiny-llama': {planned.value}"


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"bos_token_id": None}, ""),
        ({"vocab_size": 250_002}, "tokens, but the model has embeddings of 250,002"),
        ({"bos_token_id": 99}, "begins texts with '[CLS]' (id 2), but config.json says id 99"),
    ],
)
def test_signs_that_a_tokenizer_is_of_another_model(
    changes: dict[str, Any], doubt: str, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_base("bert"), tmp_path / "base"))
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    doubts = read_checkpoint(folder).doubts
    assert doubt in "".join(doubts) and len(doubts) == bool(doubt)


def test_a_text_with_a_token_beyond_the_embeddings_is_refused(
    folder: Path, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    """Added tokens that no text has do no harm: some published tokenizers have them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image>", "carbon"])
    tokenizer.save_pretrained(folder)
    spec = make_spec("llama", base_path=str(folder), base_identity="test:added-tokens")
    with pytest.raises(InputError, match=r"\d+ texts have tokens beyond the 400 .* first ids \['"):
        run_trial(spec, tiny_dataset)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("<pad>", "pad_token '<pad>' is not in the vocabulary; give `pad_token`"),
        ("</s>", None),
    ],
)
def test_a_pad_token_of_ones_own(
    token: str, told: str | None, folder: Path, make_spec: MakeSpec
) -> None:
    spec = make_spec("llama", base_path=str(folder), base_identity="test:own-pad", pad_token=token)
    if told:
        with pytest.raises(InputError) as caught:
            load_base(spec, CPU, torch.float32)
        assert told in str(caught.value)
        return
    base = load_base(spec, CPU, torch.float32)
    assert base.tokenizer.pad_token == token
    assert base.model.config.pad_token_id == base.tokenizer.convert_tokens_to_ids(token)
    other = load_base(spec.model_copy(update={"pad_token": None}), CPU, torch.float32)
    assert other.tokenizer.pad_token == "<s>"


def test_a_length_beyond_the_positions_is_refused(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    spec = make_spec("bert", training={"max_length": 129, "batch_size": 8, "num_train_epochs": 1})
    with pytest.raises(InputError) as caught:
        run_trial(spec, tiny_dataset)
    assert str(caught.value) == (
        "training.max_length 129 is more than the 128 tokens that the model has positions for; "
        "set it to at most 128, in an override for this model only"
    )


def test_half_precision_is_told_what_there_is() -> None:
    with pytest.raises(InputError, match=r"precision: should be 'auto', 'fp32' or 'bf16' \(got"):
        Training.parse({"precision": "fp16"})
