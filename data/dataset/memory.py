"""Memory of a process that holds a million rows."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk a million rows again and again for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def return_freed_memory() -> None:
    """Give freed memory of Arrow and of the C library back to the system, so that others get it.

    Both keep it for later; after a million objects were freed, the library glibc keeps 150 MB.
    """
    pa.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
