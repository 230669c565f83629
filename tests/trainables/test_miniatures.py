"""Miniatures: ordinary checkpoints, the same in every process, and they learn."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from small_disks import fill, mounted_disk

from xlt.data.core.errors import InputError
from xlt.data.corpora.corpus import Corpus
from xlt.data.corpora.registry import load_corpus, parse_corpus
from xlt.data.dataset.schema import Dataset
from xlt.trainables.models.base_models import BASE_MODELS
from xlt.trainables.models.miniatures import (
    MINIATURES,
    find_miniature,
    find_miniature_folder,
    identify_miniature,
)
from xlt.trainables.models.weights_folder import read_checkpoint
from xlt.trainables.pretraining.pretrain import pretrain

SMALL = {"corpus": "phrasebook", "num_documents": 150, "num_mixed": 150, "vocab_size": 1600}


@pytest.fixture(scope="module")
def corpus(tiny_dataset: Dataset) -> Corpus:
    values = SMALL | {"step_factor": 0.05}
    return load_corpus(parse_corpus(values), tiny_dataset, frozenset())


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_an_ordinary_checkpoint(name: str, corpus: Corpus, tmp_path: Path) -> None:
    losses: list[float] = []
    pretrain(name, corpus, tmp_path / "m", lambda step, num_steps, loss: losses.append(loss))
    assert {p.name for p in tmp_path.iterdir()} == {"m"}  # nothing half-written beside it
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")
    assert model.config.model_type == MINIATURES[name].architecture
    assert model.config.vocab_size == len(tokenizer)
    read = read_checkpoint(tmp_path / "m")
    assert replace(read, pad_token=None) == MINIATURES[name].checkpoint
    text = "の、"  # frequent in all documents but English ones
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
    if MINIATURES[name].num_steps:
        assert losses[-1] < losses[0]


def test_a_folder_that_is_there_is_kept(corpus: Corpus, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        pretrain("mini-bert-ja", corpus, folder, lambda step, num_steps, loss: None)
    files = {p.name: p.read_bytes() for p in first.iterdir()}
    assert files == {p.name: p.read_bytes() for p in again.iterdir()}


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
@pytest.mark.parametrize("left", [0, 300_000])
def test_a_full_disk_leaves_nothing_and_is_one_sentence(
    left: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted_disk(tmp_path / "disk", "1m") as disk:
        monkeypatch.setenv("XLT_CACHE", str(disk / "cache"))
        folder = find_miniature_folder("miniature:mini-bert-ja:0")
        folder.parent.mkdir(parents=True)
        fill(disk)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - left)
        with pytest.raises(InputError, match=r"disk/cache' cannot be written: .*No space left"):
            pretrain("mini-bert-ja", corpus, folder, lambda step, num_steps, loss: None)
        assert list(folder.parent.iterdir()) == []


def test_tokenizers_are_the_same_in_every_process() -> None:
    code = (
        "from xlt.data.corpora.registry import *\n"
        "from xlt.data.sources.registry import *\n"
        "from xlt.trainables.pretraining.vocabulary import train_tokenizer\n"
        "data = load_dataset(parse_source({'source': 'synthetic', 'num_source': 2}))\n"
        f"corpus = load_corpus(parse_corpus({SMALL!r}), data, frozenset())\n"
        "for architecture in ('bert', 'llama'):\n"
        "    made = train_tokenizer(architecture, corpus.table['text'].to_pylist(), 1600)\n"
        "    print(made.backend_tokenizer.to_str())\n"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(3)
    }
    assert len(runs) == 1
    assert len(runs.pop().splitlines()) == 2


def test_identity_changes_with_recipe_and_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    # Results exist under this identity, so it must not change.
    assert identify_miniature("mini-mbert", "corpus") == "miniature:mini-mbert:9f0b3de6dbe34359"
    first = identify_miniature("mini-elyza", "corpus:a")
    assert first != identify_miniature("mini-elyza", "corpus:b")
    assert first != identify_miniature("mini-llama2", "corpus:a")
    changed = MINIATURES["mini-elyza"].model_copy(update={"num_steps": 1})
    monkeypatch.setitem(MINIATURES, "mini-elyza", changed)
    assert first != identify_miniature("mini-elyza", "corpus:a")
    assert find_miniature_folder(first).name == first.removeprefix("miniature:").replace(":", "-")


def test_elyza_has_ten_times_the_japanese_of_llama2() -> None:
    elyza, llama2 = MINIATURES["mini-elyza"], MINIATURES["mini-llama2"]
    assert elyza.japanese_share == pytest.approx(10 * llama2.japanese_share)
    same = {"name", "japanese_share"}
    assert elyza.model_dump(exclude=same) == llama2.model_dump(exclude=same)


def test_every_miniature_is_a_base_model_and_back() -> None:
    registered: dict[str, Any] = {m.name: m.miniature for m in BASE_MODELS.values() if m.miniature}
    assert registered == {name: name for name in MINIATURES}
    for name, recipe in MINIATURES.items():
        assert BASE_MODELS[name].languages == recipe.languages
    with pytest.raises(InputError, match="Did you mean 'mini-mbert'"):
        find_miniature("mini-mbret")
