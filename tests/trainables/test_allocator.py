"""Freed memory of tensors stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from xlt.trainables.loading.allocator import keep_freed_memory
class Mallinfo2(ctypes.Structure):  # of malloc.h; fordblks: free bytes that the heap holds
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]
c = ctypes.CDLL(None)
c.mallinfo2.restype = Mallinfo2
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "kept":
    keep_freed_memory()
c.free(c.malloc(20 << 20))
print(c.mallinfo2().fordblks)
"""


def free_bytes(how: str) -> int:
    """Free bytes on the heap of a new process that allocated and freed 20 MiB."""
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc")
def test_freed_memory_stays() -> None:
    assert free_bytes("plain") < 20 << 20 <= free_bytes("kept")
