"""Memory that tensors on a CPU give back, kept for the next ones."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""
MMAP_BYTES = 1 << 25
"""Larger tensors go back to the system when they are freed; glibc accepts no more than 32 MiB."""
KEPT_BYTES = 1 << 28
"""Free memory that a process holds at most at the end of its heap: 256 MiB."""


def keep_freed_memory() -> None:
    """Keep up to :data:`KEPT_BYTES` of freed memory in this process, where the C library is glibc.

    Every layer makes tensors of a few MB and drops them. glibc hands these back to the system at
    once, which clears each page anew for the next layer: a quarter of the time of a miniature
    (docs/benchmarks.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
