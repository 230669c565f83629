"""The file of a checkpoint: tensors, metadata, and the hash of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save

from xlt.data.core.errors import InputError


def write_checkpoint(metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Write tensors of any device, and metadata, as a safetensors file with a hash."""
    on_cpu: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        content = tensor.detach().cpu().contiguous()
        address = content.untyped_storage().data_ptr()
        # safetensors refuses shared memory; other copies would only need memory.
        on_cpu[name] = content.clone() if address in storages else content
        storages.add(address)
    return save(on_cpu, {**metadata, "sha256": hash_state(metadata, on_cpu)})


def read_checkpoint(content: bytes) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read metadata and tensors of a file.

    Raises:
        InputError: The file is damaged, or was written without a hash.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        metadata: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
        tensors = load(content)
        is_whole = metadata.pop("sha256") == hash_state(metadata, tensors)
    except Exception:  # parsers raise any error on damaged bytes
        is_whole = False
    if not is_whole:
        raise InputError("the checkpoint is damaged, or was written without a hash")
    return metadata, tensors


def hash_state(metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of the metadata, and of names, types, shapes and values of all tensors."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
