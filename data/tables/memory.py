"""Refuse a file that needs more memory than the machine has, before it is read."""

from __future__ import annotations

import os
from pathlib import Path

from xlt.data.core.errors import InputError

CELL_BYTES = 110
"""Memory of a cell of a table that is read whole: 1,000,000 rows with an id, 50 characters, a
language and a label took 110 bytes a cell (growth of the process in :func:`read_records`)."""


def read_memory() -> int:
    """Bytes of main memory, or the limit of the container (control groups, version 2)."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return installed
    return min(installed, int(limit)) if limit.isdigit() else installed


def refuse_too_large(num_bytes: int, what: str) -> None:
    """Raise InputError if something needs more bytes than this machine has.

    Args:
        num_bytes: Bytes that it needs at least.
        what: The things that need them, in the plural, e.g. ``40,000,000 rows``.
    """
    memory = read_memory()
    if num_bytes > memory:
        raise InputError(
            f"{what} need {num_bytes / 1e9:,.1f} GB of memory or more, and this machine has "
            f"{memory / 1e9:,.1f} GB; leave out rows, or use a larger machine"
        )
