"""Keep the memory of freed tensors in the process, so that a CPU can reuse it faster."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Option numbers of ``mallopt``, from glibc's malloc.h."""
MMAP_BYTES = 1 << 25
"""Tensors above this size go back to the system when they are freed; 32 MiB is glibc's maximum."""
KEPT_BYTES = 1 << 28
"""Maximum number of free bytes that a process keeps at the end of its heap: 256 MiB."""


def keep_freed_memory() -> None:
    """Keep up to :data:`KEPT_BYTES` of freed memory in this process, where the C library is glibc.

    Each layer creates tensors of a few MB and frees them. By default glibc returns their memory to
    the system at once, and the system clears every page before it hands it out again. This takes a
    quarter of the time of a miniature (docs/benchmarks.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
