"""Checkpoints that cannot be loaded, each told in one sentence, before and while loading."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.config import load_config
from xlt.trainables.loading.tokenizer import load_tokenizer
from xlt.trainables.models.architectures import derive_kind, read_max_positions
from xlt.trainables.models.tokenizer_files import list_needed_packages
from xlt.trainables.models.weights_folder import check_files, read_checkpoint
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]
Edit = Callable[[Path], None]


@pytest.fixture
def folder(tiny_base: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base("llama"), tmp_path / "base"))


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def make_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def make_pointer(name: str) -> Edit:
    """As `git clone` without Git LFS leaves a large file."""

    def edit(folder: Path) -> None:
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 17082730\n"
        (folder / name).write_text(pointer)

    return edit


def add_mark(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())

    return edit


def nest(name: str, modules: str | None = None) -> Edit:
    """Move the checkpoint into a folder one level down."""

    def edit(folder: Path) -> None:
        files = list(folder.iterdir())
        (folder / name).mkdir()
        for file in files:
            file.rename(folder / name / file.name)
        if modules:
            (folder / "modules.json").write_text(modules)

    return edit


def only_modules(folder: Path) -> None:
    """As the small files of a hub repository are downloaded."""
    modules = '[{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]'
    (folder / "modules.json").write_text(modules)
    (folder / "config.json").unlink()


def shard(folder: Path) -> None:
    """As ``save_pretrained`` splits large models, with the second shard missing."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    next(folder.glob("model-00002-of-*.safetensors")).unlink()


BAD: dict[str, tuple[Edit, str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "holds no config.json; give the folder"),
    "config cut off": (
        lambda f: (f / "config.json").write_text('{"model_'),
        "config.json' is not JSON",
    ),
    "no model type": (
        lambda f: (f / "config.json").write_text("{}"),
        "names no model_type",
    ),
    "deep config": (
        lambda f: (f / "config.json").write_text('{"a":' * 990 + "1" + "}" * 990),
        "config.json' is not JSON: lists or objects are nested deeper than 100 levels",
    ),
    "other types": (
        lambda f: edit_json(f / "config.json", quantization_config=["x"]),
        "\"['x']\" is no dict; copy the file again",
    ),
    "huge vocabulary": (lambda f: edit_json(f / "config.json", vocab_size=10**400), " is no int; "),
    "deep header": (
        lambda f: (f / "model.safetensors").write_bytes(
            (10**5).to_bytes(8, "little") + b"[" * 10**5
        ),
        "model.safetensors is incomplete or no safetensors file; copy it again",
    ),
    "huge header": (
        lambda f: (f / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}"),
        "model.safetensors has 10 bytes, its header says 4,611,",
    ),
    "adapter": (make_adapter, "holds an adapter (adapter_config.json), not a base model; it was "
                "trained on 'org/base'; give the base model, or merge"),
    "encoder-decoder": (
        lambda f: edit_json(f / "config.json", is_encoder_decoder=True),
        "llama is an encoder-decoder",
    ),
    "own code": (
        lambda f: edit_json(f / "config.json", model_type="plamo", auto_map={"AutoModel": "m.M"}),
        "plamo brings its own code (auto_map in config.json), which is never run "
        "(trust_remote_code is off)",
    ),
    "quantised": (
        lambda f: edit_json(f / "config.json", quantization_config={"quant_method": "gptq"}),
        "its weights are quantised (gptq, quantization_config in config.json); give the model that "
        "it was made from",
    ),
    "pickle": (pickle_only, "holds its weights as pickle only (pytorch_model.bin); safetensors are "
               "needed"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no weights; safetensors"),
    "cut off": (cut_off, "model.safetensors has "),
    "damaged header": (
        lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64),
        "model.safetensors is incomplete or no safetensors file; copy it again",
    ),
    "shard missing": (shard, "names model-00002-of-"),
    "pointer of a tokenizer": (
        make_pointer("tokenizer.json"),
        "tokenizer.json' is a Git LFS pointer, not the file itself; run `git lfs pull`",
    ),
    "pointer of weights": (make_pointer("model.safetensors"), "model.safetensors' is a Git LFS p"),
    "pointer of config": (make_pointer("config.json"), "config.json' is a Git LFS pointer"),
    "byte order mark": (
        add_mark("config.json"),
        "config.json' begins with a byte order mark, which transformers cannot read; save it as",
    ),
    "byte order mark of a tokenizer": (
        add_mark("tokenizer_config.json"), "tokenizer_config.json' begins with a byte order mark",
    ),
    "adapter without config": (
        lambda f: (f / "model.safetensors").rename(f / "adapter_model.safetensors"),
        "holds an adapter (adapter_model.safetensors), not a base model; give the base model",
    ),
    "sentence-transformers": (
        nest("0_Transformer", '[{"path": "0_Transformer", "type": "s_t.models.Transformer"}, '
             '{"path": "1_Pooling", "type": "s_t.models.Pooling"}]'),
        "holds no config.json; modules.json says that its transformer lies in the folder "
        "'0_Transformer'; give '",
    ),
    "sentence-transformers of the hub": (
        only_modules,
        "holds no config.json; modules.json says that its transformer lies in the folder "
        "'0_Transformer'; download that folder and give its path",
    ),
    "checkpoint one level down": (
        nest("checkpoint-500"),
        "holds no config.json; its folder 'checkpoint-500' holds one; give '",
    ),
    "no tokenizer": (no_tokenizer, "holds no tokenizer (tokenizer.json, "),
    "sentencepiece": (
        lambda f: (f / "tokenizer.json").rename(f / "tokenizer.model"),
        "its tokenizer needs sentencepiece, which is not installed; pip install "
        "'xlt-sweep[sentencepiece]' on every machine",
    ),
    "mecab": (
        lambda f: edit_json(f / "tokenizer_config.json", word_tokenizer_type="mecab"),
        "its tokenizer needs fugashi, which is not installed; pip install 'xlt-sweep[words]' on",
    ),
    "other dictionary": (
        lambda f: edit_json(
            f / "tokenizer_config.json", word_tokenizer_type="mecab",
            mecab_kwargs={"mecab_dic": "ipadic"},
        ),
        "its tokenizer needs ipadic, which is not installed; pip install ipadic on",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_one_error_before_and_while_loading(
    name: str,
    folder: Path,
    make_spec: MakeSpec,
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit, told = BAD[name]
    edit(folder)
    missing = {"sentencepiece", "ipadic"} | ({"fugashi"} if name == "mecab" else set())
    monkeypatch.setattr(
        "xlt.trainables.models.tokenizer_files.find_spec",
        lambda package: None if package in missing else 1,
    )
    with pytest.raises(InputError) as planned:
        read_checkpoint(folder)
        check_files(folder)
    spec = make_spec("llama", base_path=str(folder), base_identity=f"test:{name}")
    with pytest.raises(InputError) as loaded:
        run_trial(spec, tiny_dataset)
    assert told in str(planned.value)
    assert str(loaded.value) == f"base model 'tiny-llama': {planned.value}"


@pytest.mark.parametrize("content", ["[]", "1", "[" * 9999, '{"tokenizer_class": {}}'])
def test_a_hostile_tokenizer_config_is_one_error(content: str, folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(content)
    read_checkpoint(folder)
    with pytest.raises(InputError, match=r"the tokenizer of .* cannot be loaded"):
        load_tokenizer(folder)


@pytest.mark.parametrize("values", [{"dtype": ""}, {"dtype": []}, {"hidden_size": "x"}])
def test_a_value_that_transformers_cannot_read_is_one_error(
    values: dict[str, Any], folder: Path
) -> None:
    edit_json(folder / "config.json", **values)
    with pytest.raises(InputError, match="cannot read the config of 'llama'"):
        load_config(folder)


def test_all_that_a_checkpoint_lacks_is_told_together(folder: Path) -> None:
    pickle_only(folder)
    no_tokenizer(folder)
    with pytest.raises(InputError) as caught:
        check_files(folder)
    assert [problem.partition("' holds ")[2][:9] for problem in caught.value.problems] == [
        "no tokeni", "its weigh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "packages"),
    [("basic", []), ("sudachi", ["sudachipy"]), ("jumanpp", ["rhoknp"]),
     ("mecab", ["fugashi", "unidic_lite"])],
)  # fmt: skip
def test_what_splits_japanese_words_is_needed(kind: str, packages: list[str], folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", word_tokenizer_type=kind)
    assert list_needed_packages({"vocab.txt"}, folder) == packages


def test_shards_are_loaded(folder: Path, make_spec: MakeSpec, tiny_dataset: Dataset) -> None:
    plain = make_spec("llama")
    expected = run_trial(plain, tiny_dataset).history
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    check_files(folder)
    spec = make_spec("llama", base_path=str(folder), base_identity="test:shards")
    assert run_trial(spec, tiny_dataset).history.equals(expected)


@pytest.mark.parametrize("own_code", ["falcon", "mpt", "phi", "qwen3_5_text"])
def test_code_in_the_repository_is_left_alone_where_transformers_knows_the_type(
    own_code: str, folder: Path
) -> None:
    edit_json(folder / "config.json", model_type=own_code, auto_map={"AutoModel": "m.M"})
    assert read_checkpoint(folder).model_type == own_code


def test_an_architecture_without_a_classifier_is_told(
    folder: Path, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    edit_json(folder / "config.json", model_type="mamba")
    spec = make_spec("llama", base_path=str(folder), base_identity="test:mamba")
    with pytest.raises(InputError) as caught:
        run_trial(spec, tiny_dataset)
    assert str(caught.value).startswith(
        "base model 'tiny-llama': transformers has no sequence classifier for model type 'mamba'; "
        "give a model of another type, such as albert, bert, bloom, "
    )


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "new", "architectures": ["NewForCausalLM"]}, "decoder"),
        ({"model_type": "new", "architectures": ["NewLMHeadModel"]}, "decoder"),
        ({"model_type": "new", "architectures": ["NewForMaskedLM"]}, "encoder"),
        ({"model_type": "new", "architectures": ["NewForPreTraining"]}, "encoder"),
        ({"model_type": "new", "architectures": ["NewForMaskedLM"], "is_decoder": True}, "decoder"),
        ({"model_type": "new", "architectures": ["NewModel"]}, None),
        ({"model_type": "new", "architectures": ["NewForSequenceClassification"]}, None),
        ({"model_type": "new", "architectures": None}, None),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "encoder"),
    ],
)
def test_the_kind_is_derived_or_left_open(config: dict[str, Any], kind: str | None) -> None:
    assert derive_kind(config) == kind


def test_positions_of_published_configurations() -> None:
    """Numbers as in the config.json of these checkpoints; what is left is in their papers."""
    assert read_max_positions({"model_type": "llama", "max_position_embeddings": 4096}) == 4096
    assert read_max_positions({"model_type": "bert", "max_position_embeddings": 512}) == 512
    roberta = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    assert read_max_positions(roberta) == 512
    assert read_max_positions({"model_type": "gpt2", "n_positions": 1024}) == 1024
    assert read_max_positions({"model_type": "bloom"}) is None


@pytest.mark.parametrize(
    "name", ["tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.txt"]
)
def test_a_pipe_is_refused_and_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    read_checkpoint(folder)
    for load in (check_files, load_tokenizer):
        with pytest.raises(InputError, match=f"{name}' is a pipe, socket or device, not a file"):
            load(folder)
