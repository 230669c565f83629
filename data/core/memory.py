"""Memory of a process: the garbage collector, and freed memory."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk a million rows again and again for nothing.

    Also a decorator, for functions that read and end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def importing_torch() -> Iterator[None]:
    """Keep the objects that torch and transformers make when they are imported from the collector.

    It would walk these 800,000 objects again and again during the import, and three times later. So
    it pauses, and then leaves out all objects of the process, of which only those in cycles need
    it. A process that has torch may have models in cycles, too; there nothing changes.
    """
    if "torch" in sys.modules:
        yield
        return
    with paused_collector():
        yield
    gc.freeze()


def return_freed_memory() -> None:
    """Give freed memory of Arrow and of the C library back to the system, so that others get it.

    Both keep it for later; after a million objects were freed, the library glibc keeps 150 MB.
    """
    import pyarrow as pa  # not needed for pausing the collector, which commands do first

    pa.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
