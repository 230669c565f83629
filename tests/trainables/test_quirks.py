"""Checkpoints with the quirks of published ones: each trains as the plain checkpoint does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_checkpoints import save_checkpoint, save_unlisted_checkpoint

from xlt.data.dataset.schema import Dataset
from xlt.sweep.cli.main import main
from xlt.trainables.loading.base import load_base
from xlt.trainables.loading.config import load_config
from xlt.trainables.loading.tokenizer import load_tokenizer
from xlt.trainables.models.weights_folder import check_files, read_checkpoint
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]
Edit = Callable[[Path], None]
Rename = Callable[[str], str]
FIXED: dict[str, Any] = {
    "padding": {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]",
    },
    "truncation": {
        "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0,
    },
}  # fmt: skip
"""Keys of tokenizer.json as in sentence-transformers/all-MiniLM-L6-v2, with smaller numbers."""


def edit_json(name: str, **changes: Any) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / name
        values = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(values | changes))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Edit:
    def edit(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, {"format": "pt"})

    return edit


def rename(change: Rename) -> Edit:
    return edit_weights(lambda weights: {change(name): w for name, w in weights.items()})


def to_gamma(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    )


def tie_embeddings(folder: Path) -> None:
    edit_json("config.json", tie_word_embeddings=True)(folder)
    edit_weights(lambda w: {k: v for k, v in w.items() if k != "lm_head.weight"})(folder)


QUIRKS: dict[str, tuple[str, Edit]] = {
    "outputs are tuples": ("bert", edit_json("config.json", return_dict=False)),
    "torchscript": ("bert", edit_json("config.json", torchscript=True)),
    "all outputs": (
        "llama", edit_json("config.json", output_attentions=True, output_hidden_states=True),
    ),
    "another attention": (
        "llama", edit_json("config.json", _attn_implementation="flash_attention_2"),
    ),
    "16 bits": ("llama", edit_json("config.json", torch_dtype="float16")),
    "several ends of text": ("llama", edit_json("config.json", eos_token_id=[1, 2])),
    "labels": ("llama", edit_json(
        "config.json", id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2},
        problem_type="multi_label_classification",
    )),
    "pad id beyond the vocabulary": ("bert", edit_json("config.json", pad_token_id=100_000)),
    "pad id of no token": ("llama", edit_json("config.json", pad_token_id=-1)),
    "pad id of the end of text": ("llama", edit_json("config.json", pad_token_id=2)),
    "pad token is the end of text": (
        "llama", edit_json("tokenizer_config.json", pad_token="</s>"),
    ),
    "padding on the left": (
        "llama", edit_json("tokenizer_config.json", padding_side="left", truncation_side="left"),
    ),
    "short texts": ("bert", edit_json("tokenizer_config.json", model_max_length=4)),
    "texts of fixed length": ("bert", edit_json("tokenizer.json", **FIXED)),
    "unfit generation": (
        "llama", edit_json("generation_config.json", temperature=0.5, do_sample=False),
    ),
    "compiled": ("bert", rename(lambda name: f"_orig_mod.{name}")),
    "compiled decoder": ("llama", rename(lambda name: f"_orig_mod.{name}")),
    "distributed": ("bert", rename(lambda name: f"module.{name}")),
    "gamma and beta": ("bert", rename(to_gamma)),
    "no prefix": ("bert", rename(lambda name: name.removeprefix("bert."))),
    "position ids": ("bert", edit_weights(
        lambda weights: weights | {"bert.embeddings.position_ids": torch.arange(128)[None]}
    )),
    "tied embeddings": ("llama", tie_embeddings),
    "modules of sentence-transformers": ("bert", lambda folder: (
        (folder / "modules.json").write_text('[{"path": "", "type": "s.models.Transformer"}]'),
        (folder / "1_Pooling").mkdir(),
        (folder / "1_Pooling" / "config.json").write_text("{}"),
    )[0] and None),
}  # fmt: skip


@pytest.fixture
def copy(tiny_base: Callable[[str], Path], tmp_path: Path) -> Callable[[str, Edit], Path]:
    def make(architecture: str, edit: Edit) -> Path:
        folder = Path(shutil.copytree(tiny_base(architecture), tmp_path / "base"))
        edit(folder)
        return folder

    return make


def make_spec_of(make_spec: MakeSpec, architecture: str, folder: Path, **changes: Any) -> TrialSpec:
    identity = f"test:{folder}"
    return make_spec(architecture, base_path=str(folder), base_identity=identity, **changes)


@pytest.mark.parametrize("name", QUIRKS)
def test_a_checkpoint_with_a_quirk_trains_as_without(
    name: str, copy: Callable[[str, Edit], Path], make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    architecture, edit = QUIRKS[name]
    folder = copy(architecture, edit)
    plain = make_spec(architecture)
    expected = run_trial(plain, tiny_dataset)
    check_files(folder)
    result = run_trial(make_spec_of(make_spec, architecture, folder), tiny_dataset)
    assert result.history.equals(expected.history)
    assert result.predictions.equals(expected.predictions)
    assert result.execution["truncated_texts"] == expected.execution["truncated_texts"]
    assert read_checkpoint(folder).pad_token == result.execution["pad_token"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_are_read_in_fp32(
    dtype: torch.dtype, copy: Callable[[str, Edit], Path], make_spec: MakeSpec
) -> None:
    folder = copy("llama", edit_weights(lambda w: {k: v.to(dtype) for k, v in w.items()}))
    plain = load_base(make_spec("llama"), CPU, torch.float32).model.state_dict()
    base = load_base(make_spec_of(make_spec, "llama", folder), CPU, torch.float32)
    for name, tensor in base.model.state_dict().items():
        assert tensor.dtype == torch.float32
        if not name.startswith("score"):
            assert torch.equal(tensor, plain[name].to(dtype).float())


def test_renamed_weights_are_kept_under_the_names_of_transformers(
    copy: Callable[[str, Edit], Path], make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    folder = copy("bert", rename(lambda name: f"_orig_mod.{name}"))
    spec = make_spec_of(make_spec, "bert", folder)
    result = run_trial(spec, tiny_dataset, keep_models="all")
    plain = run_trial(make_spec("bert"), tiny_dataset, keep_models="all")
    assert result.model["model.safetensors"] == plain.model["model.safetensors"]


def test_positions_of_roberta_count_from_the_pad_id_of_its_config(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """The tokenizer pads with id 0, the config says 1: pre-training counted from the config's."""
    save_checkpoint("roberta", tiny_dataset.table["text"].to_pylist(), tmp_path)
    edit_json("config.json", pad_token_id=1)(tmp_path)
    training = {"num_train_epochs": 1, "batch_size": 8, "max_length": 126}
    spec = make_spec_of(make_spec, "bert", tmp_path, training=training)
    base = load_base(spec, CPU, torch.float32)
    assert base.max_positions == 126 == read_checkpoint(tmp_path).max_positions
    assert base.model.config.pad_token_id == base.tokenizer.pad_token_id == 0
    assert base.model.roberta.embeddings.padding_idx == 1
    assert len(run_trial(spec, tiny_dataset).predictions) == 20


# --- tokenizers that pad and cut by themselves ---------------------------------------------------


def test_a_tokenizer_that_pads_by_itself_counts_tokens_as_one_that_does_not(
    copy: Callable[[str, Edit], Path], tiny_base: Callable[[str], Path], tiny_dataset: Dataset
) -> None:
    folder = copy("bert", edit_json("tokenizer.json", **FIXED))
    texts = [*tiny_dataset.table["text"].to_pylist()[:20], "carbon board " * 60]
    plain, own = load_tokenizer(tiny_base("bert")), load_tokenizer(folder)
    assert own(texts)["input_ids"] == plain(texts)["input_ids"]
    backend = [encoding.ids for encoding in own.backend_tokenizer.encode_batch(texts)]
    assert backend == plain(texts)["input_ids"]
    reread = transformers.AutoTokenizer.from_pretrained(folder)
    raw = [len(encoding.ids) for encoding in reread.backend_tokenizer.encode_batch(texts)]
    assert set(raw) == {64}  # the file itself pads


def test_data_show_counts_the_tokens_of_a_tokenizer_that_pads_by_itself(
    copy: Callable[[str, Edit], Path],
    tiny_base: Callable[[str], Path],
    experiment_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copy("bert", edit_json("tokenizer.json", **FIXED))
    shown = []
    for model in (tiny_base("bert"), folder):
        assert main(["data", "show", str(experiment_file), "--model", str(model)]) == 0
        shown.append(capsys.readouterr().out.replace(str(model), "M"))
    assert "M tokens a text" in shown[0]
    assert shown[0] == shown[1]


# --- multimodal models ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("model_type", ["gemma3", "qwen3_5"])
def test_a_multimodal_model_is_read_as_its_text_model(
    model_type: str, layout: str, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    texts = tiny_dataset.table["text"].to_pylist()
    save_unlisted_checkpoint(model_type, texts, tmp_path)
    whole: Any = transformers.AutoModel.from_pretrained(tmp_path).eval()
    old, new = "language_model.model.", "model.language_model."
    if layout == "old":
        rename(lambda name: name.replace(new, old))(tmp_path)
    else:
        rename(lambda name: name.replace(old, new))(tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.model_type.startswith(model_type) and checkpoint.model_type.endswith("_text")
    assert (checkpoint.kind, checkpoint.pad_token) == ("decoder", "<s>")
    assert checkpoint.max_positions == 128
    assert load_config(tmp_path).model_type == checkpoint.model_type
    base = load_base(make_spec_of(make_spec, "llama", tmp_path), CPU, torch.float32)
    ids = torch.tensor(base.tokenizer(texts[:1])["input_ids"])
    with torch.inference_mode():
        hidden = base.model.model(ids).last_hidden_state
        expected = whole.language_model(ids).last_hidden_state
    torch.testing.assert_close(hidden, expected)
    assert not any("vis" in name for name in base.model.state_dict())
    for method in ("full", "lora"):
        spec = make_spec_of(make_spec, "llama", tmp_path, method=method)
        assert len(run_trial(spec, tiny_dataset).predictions) == 20
