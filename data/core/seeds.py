"""The only place where seeds are made: one root seed, named purposes."""

from __future__ import annotations

import hashlib


def derive_seed(root: int, *purpose: str | int) -> int:
    """Derive an independent seed for a named purpose.

    The same arguments give the same seed on every machine and in every Python version.

    Args:
        root: The seed that the user set.
        purpose: What the seed is for, e.g. ``("dropout",)`` or ``("order", epoch)``.

    Returns:
        An integer in [0, 2**63), usable by ``numpy`` and ``torch`` generators.
    """
    text = "\x1f".join([str(root), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rank_key(root: int, purpose: str, row_id: str) -> bytes:
    """A row's place in a seeded random order, independent of every other row.

    Sorting by this key is a draw that does not change with the order of the file, with the
    machine, or when other rows are added or removed.
    """
    return hashlib.sha256(f"{root}\x1f{purpose}\x1f{row_id}".encode()).digest()
