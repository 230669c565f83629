"""One flipped bit in the files of a base model is noticed before a trial trains on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xlt.data.core.errors import InputError
from xlt.data.corpora.corpus import Corpus
from xlt.data.corpora.registry import load_corpus, parse_corpus
from xlt.data.dataset.schema import Dataset
from xlt.sweep.on_ray.worker import pack, unpack
from xlt.trainables.loading import base
from xlt.trainables.loading.base import load_base
from xlt.trainables.models.base_models import BaseModel, identify
from xlt.trainables.models.verified_files import SUMS, verify_files
from xlt.trainables.pretraining.pretrain import pretrain
from xlt.trainables.spec.trial_spec import TrialSpec

MINIATURE = "miniature:mini-mbert-untrained:0123456789abcdef"
MakeSpec = Callable[..., TrialSpec]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(base, "_LOADED", {})


@pytest.fixture(scope="module")
def corpus(tiny_dataset: Dataset) -> Corpus:
    values = {"corpus": "phrasebook", "num_documents": 150, "num_mixed": 150, "vocab_size": 1600}
    return load_corpus(parse_corpus(values), tiny_dataset, frozenset())


@pytest.fixture
def miniature(corpus: Corpus, tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "miniatures" / MINIATURE.partition(":")[2].replace(":", "-")
    pretrain("mini-mbert-untrained", corpus, folder, lambda *_: None)
    return folder


def flip_last_bit(file: Path) -> None:
    """Flip the lowest bit of the last byte, which no length or header shows."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_damaged_miniature_is_refused(miniature: Path, make_spec: MakeSpec) -> None:
    spec = make_spec("bert", base_identity=MINIATURE)
    cpu, fp32 = torch.device("cpu"), torch.float32
    digest = load_base(spec, cpu, fp32).weights_digest
    base._LOADED.clear()
    weights = miniature / "model.safetensors"
    tensors = load_file(weights)
    name = "bert.embeddings.word_embeddings.weight"
    tensors[name][1, 1] += 1e-3  # a value that the sampled digest does not see
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"tiny-bert.*the miniature in .* is damaged.*pre-trains"):
        load_base(spec, cpu, fp32)
    (miniature / SUMS).unlink()
    assert load_base(spec, cpu, fp32).weights_digest == digest


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", SUMS])
def test_every_file_of_a_miniature_counts(name: str, miniature: Path) -> None:
    verify_files(miniature, MINIATURE)
    flip_last_bit(miniature / name)
    with pytest.raises(InputError, match="is damaged"):
        verify_files(miniature, MINIATURE)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_a_miniature_is_damage(
    make: Callable[[Path], None], miniature: Path
) -> None:
    """Reading a pipe would wait for ever."""
    (miniature / "tokenizer_config.json").unlink()
    make(miniature / "tokenizer_config.json")
    with pytest.raises(InputError, match="is damaged"):
        verify_files(miniature, MINIATURE)


def test_hashes_of_a_miniature_are_those_of_sha256sum(miniature: Path) -> None:
    for line in (miniature / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((miniature / name).read_bytes()).hexdigest() == digest


def test_hashes_of_a_miniature_travel_to_other_nodes(miniature: Path, tmp_path: Path) -> None:
    """A node must not accept as new what was damaged on the node that sent it."""
    flip_last_bit(miniature / "model.safetensors")
    unpack(pack(miniature), tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is damaged"):
        verify_files(tmp_path / "elsewhere", MINIATURE)


def test_a_miniature_without_hashes_gets_them(miniature: Path) -> None:
    sums = (miniature / SUMS).read_bytes()
    (miniature / SUMS).unlink()
    verify_files(miniature, MINIATURE)
    assert (miniature / SUMS).read_bytes() == sums


def test_a_folder_that_changed_after_planning_is_refused(
    tiny_base: Callable[[str], Path], make_spec: MakeSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    unpack(pack(tiny_base("llama")), folder)
    identity = identify(BaseModel(name="own", path=str(folder)))
    spec = make_spec("llama", base_identity=identity, base_path=str(folder))
    load_base(spec, torch.device("cpu"), torch.float32)
    base._LOADED.clear()
    flip_last_bit(folder / "model.safetensors")
    with pytest.raises(InputError, match="differ from those with which the trials were planned"):
        load_base(spec, torch.device("cpu"), torch.float32)


def test_weights_in_the_hubs_cache_have_the_hash_in_their_name(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "commit"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    content = os.urandom(100)
    blob = blobs / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    (snapshot / "model.safetensors").symlink_to(blob)
    (blobs / "an-etag-of-another-form").write_bytes(b"{}")
    (snapshot / "other.safetensors").symlink_to(blobs / "an-etag-of-another-form")
    verify_files(snapshot, "hub:org/name@commit")
    flip_last_bit(blob)
    with pytest.raises(InputError, match=f"remove '{blob}', and it is downloaded again"):
        verify_files(snapshot, "hub:org/name@commit")
