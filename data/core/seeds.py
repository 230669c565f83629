"""Seeds: all are derived here, from one root seed and a named purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


def derive_seed(root: int, *purpose: str | int) -> int:
    """Derive an independent seed for a named purpose.

    The same arguments give the same seed on every machine and in every Python version.

    Args:
        root: The seed in the settings of the user.
        purpose: The use of the seed, e.g. ``("dropout",)`` or ``("order", epoch)``.

    Returns:
        An integer in [0, 2**63), usable by ``numpy`` and ``torch`` generators.
    """
    text = "\x1f".join([str(root), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rank_by(root: int, purpose: str) -> Callable[[str], bytes]:
    """Give the function from a row's id to its sort key in a seeded random order.

    The key depends on no other row. So the order of two rows does not change with the order of the
    file, with the machine, or when other rows are added or removed.
    """
    start = hashlib.sha256(f"{root}\x1f{purpose}\x1f".encode())

    def key(row_id: str) -> bytes:
        digest = start.copy()  # in two thirds of the time of a new one
        digest.update(row_id.encode())
        return digest.digest()

    return key
