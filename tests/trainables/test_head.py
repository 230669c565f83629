"""Heads of fine-tuned checkpoints are dropped, and every trial draws its own from its seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_checkpoints import save_checkpoint

from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.head import find_head_modules, init_head, is_fine_tuned
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]
MODEL_TYPES = ("llama", "bert", "roberta", "modernbert", "deberta-v2", "gpt2", "distilbert")
TUNED = 7.0
"""Value of every weight outside the backbone of a fine-tuned checkpoint."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Any:
    folders: dict[str, Path] = {}

    def folder(model_type: str) -> Path:
        if model_type not in folders:
            folders[model_type] = tmp_path_factory.mktemp(model_type)
            texts = tiny_dataset.table["text"].to_pylist()
            save_checkpoint(model_type, texts, folders[model_type])
        return folders[model_type]

    return folder


def save_tuned(source: Path, task: str, num_labels: int, folder: Path) -> None:
    auto: Any = getattr(transformers, f"AutoModelFor{task}")
    model_type = transformers.AutoConfig.from_pretrained(source).model_type
    is_renamed = (model_type, task) == ("llama", "QuestionAnswering")
    key_mapping = {r"^model\.": "transformer."} if is_renamed else None
    model = auto.from_pretrained(source, num_labels=num_labels, key_mapping=key_mapping)
    backbones = f"{model.base_model_prefix}.", *(key_mapping or {}).values()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(backbones):
                parameter.fill_(TUNED)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def spec_of(make_spec: MakeSpec, folder: Path, **changes: Any) -> TrialSpec:
    identity = f"test:{folder}"
    return make_spec("llama", base_path=str(folder), base_identity=identity, **changes)


TASKS = {"SequenceClassification": (2, 3), "TokenClassification": (2, 3), "QuestionAnswering": (2,)}
"""Task of a fine-tuned checkpoint -> numbers of labels."""


@pytest.mark.parametrize(
    ("model_type", "task", "num_labels"),
    [
        (model_type, task, num_labels)
        for model_type in MODEL_TYPES
        for task, numbers in TASKS.items()
        for num_labels in numbers
    ],
)
def test_no_weight_of_a_tuned_head_is_left(
    model_type: str, task: str, num_labels: int, pretrained: Any, make_spec: MakeSpec,
    tmp_path: Path,
) -> None:  # fmt: skip
    save_tuned(pretrained(model_type), task, num_labels, tmp_path)
    base = load_base(spec_of(make_spec, tmp_path), CPU, torch.float32)
    plain = load_base(spec_of(make_spec, pretrained(model_type)), CPU, torch.float32)
    assert {*plain.head_modules} - {"bert.pooler.dense"} <= {*base.head_modules}
    prefix = f"{base.model.base_model_prefix}."
    heads = []
    for seed in (0, 0, 1):
        init_head(base.model, base.head_modules, seed)
        heads.append(
            {name: p.clone() for name, p in base.model.named_parameters()
             if not name.startswith(prefix)}
        )  # fmt: skip
    assert heads[0]
    for name, weight in heads[0].items():
        assert not (weight == TUNED).any(), name
        assert torch.equal(weight, heads[1][name])
        assert weight.ndim < 2 or not torch.equal(weight, heads[2][name])
    for name, weight in base.model.named_parameters():
        if name.startswith(prefix) and ".pooler." not in name:
            assert torch.equal(weight, plain.model.get_parameter(name)), name


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("class_name", ["as saved", "LlamaForCausalLM", None])
def test_a_tuned_decoder_trains_as_its_backbone_whatever_its_config_says(
    class_name: str | None, num_labels: int, pretrained: Any, make_spec: MakeSpec,
    tiny_dataset: Dataset, tmp_path: Path,
) -> None:  # fmt: skip
    save_tuned(pretrained("llama"), "SequenceClassification", num_labels, tmp_path)
    if class_name != "as saved":
        file = tmp_path / "config.json"
        names = [class_name] if class_name else None
        file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": names}))
    expected = run_trial(spec_of(make_spec, pretrained("llama")), tiny_dataset)
    result = run_trial(spec_of(make_spec, tmp_path), tiny_dataset)
    assert result.history.equals(expected.history)
    assert result.predictions.equals(expected.predictions)


def test_a_module_that_pre_training_trained_is_kept(pretrained: Any, make_spec: MakeSpec) -> None:
    base = load_base(spec_of(make_spec, pretrained("modernbert")), CPU, torch.float32)
    assert base.head_modules == ("classifier",)


@pytest.mark.parametrize(
    ("names", "is_tuned"),
    [
        (["BertForMaskedLM"], False),
        (["BertModel"], False),
        (["GPT2LMHeadModel"], False),
        (["Gemma3ForConditionalGeneration"], False),
        ([], False),
        (["BertForTokenClassification"], True),
        (["LlamaForSequenceClassification"], True),
        (["BertForQuestionAnswering"], True),
        (["RobertaForMultipleChoice"], True),
    ],
)
def test_classes_with_labels_are_fine_tuned(names: list[str], is_tuned: bool) -> None:
    assert is_fine_tuned(names) == is_tuned


def test_a_norm_without_reset_parameters_is_initialised() -> None:
    config = transformers.LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=8, pad_token_id=0,
    )  # fmt: skip
    model: Any = transformers.LlamaForSequenceClassification(config)
    model.norm = type(model.model.norm)(8)
    with torch.no_grad():
        model.norm.weight.fill_(TUNED)
    model.norm.weight._is_hf_initialized = True  # as from_pretrained marks loaded weights
    head = find_head_modules(model, [], [], is_tuned=True)
    assert head == ("norm", "score")
    init_head(model, head, seed=0)
    assert (model.norm.weight == 1).all()
