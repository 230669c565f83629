"""Whether a base model can be had: folders as users have them, and a hub that refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub.constants
import pytest
from fake_hub import SHA, serving

from data.errors import InputError
from trainables.checkpoint_files import in_folder, on_hub


@pytest.fixture
def folder(tiny_base: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base("bert"), tmp_path / "base"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    with serving(monkeypatch, str(tmp_path / "cache")) as endpoint:
        yield endpoint


def problems_of(folder: Path) -> str:
    return "\n".join(in_folder(folder).problems())


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "bert"])
def test_a_whole_checkpoint_has_no_problems(
    architecture: str, tiny_base: Callable[[str], Path]
) -> None:
    found = in_folder(tiny_base(architecture))
    assert found.problems() == []
    assert found.to_download == 0
    assert found.config["model_type"] == architecture


def test_a_folder_without_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "has no config.json" in problems_of(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert "holds an adapter, not a base model" in problems_of(folder)


def test_a_config_that_is_not_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        in_folder(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "only as pytorch_model.bin" in problems_of(folder)
    (folder / "pytorch_model.bin").unlink()
    assert "has no model.safetensors" in problems_of(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "damaged model.safetensors" in problems_of(folder)


def test_a_part_of_the_weights_is_missing(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": parts[0], "b": parts[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert problems_of(folder) == f"lacks {parts[1]} of its weights; copy them, too"


def test_tokenizers(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    (folder / "tokenizer_config.json").unlink()
    told = "needs sentencepiece for its tokenizer: pip install sentencepiece"
    assert problems_of(folder) == ("" if find_spec("sentencepiece") else told)
    (folder / "tokenizer.model").unlink()
    assert "has no tokenizer" in problems_of(folder)


def test_a_tokenizer_whose_package_is_missing(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "vocab.txt")
    options = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "mecab",
        "mecab_kwargs": {"mecab_dic": "no_such_dictionary"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    assert "no-such-dictionary for its tokenizer: pip install" in problems_of(folder)
    basic = options | {"word_tokenizer_type": "basic"}
    (folder / "tokenizer_config.json").write_text(json.dumps(basic))
    assert problems_of(folder) == ""


def test_what_the_hub_has_is_counted_and_not_downloaded(hub: str, tmp_path: Path) -> None:
    found = on_hub("org/whole", None)
    assert found.problems() == []
    assert found.where == "hub"
    # The two configs were fetched; the weights of another framework never are.
    assert found.to_download == 700 + 30
    assert found.config == {"model_type": "bert"}
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_the_hub_refuses(hub: str) -> None:
    with pytest.raises(InputError, match=f"accept its licence at {hub}/org/gated"):
        on_hub("org/gated", None)
    with pytest.raises(InputError, match="the hub has no org/nothing, or hides it"):
        on_hub("org/nothing", None)
    with pytest.raises(InputError, match="org/whole has no revision 'v9'"):
        on_hub("org/whole", "v9")


def test_what_is_on_the_hub_and_cannot_be_loaded(hub: str) -> None:
    assert "only as pytorch_model.bin" in on_hub("org/pickled", None).problems()[0]
    assert "has no tokenizer" in on_hub("org/mute", None).problems()[0]
    assert "no-such-dictionary" in on_hub("org/words", None).problems()[0]


def test_without_a_connection_a_cached_copy_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="gives no answer for org/whole and no copy is cached"):
        on_hub("org/whole", SHA)
    place = tmp_path / "cache" / "models--org--whole"
    (place / "snapshots").mkdir(parents=True)
    shutil.copytree(folder, place / "snapshots" / SHA)
    found = on_hub("org/whole", SHA)
    assert found.where == "cached"
    assert found.problems() == []
