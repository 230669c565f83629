"""Memory of a process that holds a million rows."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk a million rows again and again for nothing.

    It takes a fifth of the time of importing torch and transformers, too. Also a decorator, for
    functions that read and end.
    """
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
    import pyarrow as pa  # not needed for pausing the collector, which commands do first

    pa.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
