"""Commands that read and end soon, without habits of packages that cost them time."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xlt.data.core.memory import paused_collector

_is_quick = False
"""Whether this process exists for a quick command."""


@contextmanager
def quick_command() -> Iterator[None]:
    """Pause the garbage collector, and import two modules when they are used; a decorator."""
    global _is_quick
    is_alone = "pyarrow" not in sys.modules  # else the process is not this command's alone
    _is_quick = _is_quick or is_alone
    with paused_collector():
        if is_alone:
            # pydantic would read the metadata of all packages to find plug-ins that log validation.
            os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
            # NumPy would start a thread for each core, and products of analyses use one.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            _use_pandas_later()
            _import_later("pyarrow.compute")
        yield
        if is_alone:
            gc.freeze()  # else the collector walks all objects at once when it goes on


def end_at_once(status: int) -> None:
    """End the process after a quick command; return if it ran another one, or is not alone.

    Python would free each object and module before, for 10 ms. Functions of ``atexit`` are called.
    Threads and a profiler have more to do at an ordinary end.
    """
    if not _is_quick or threading.active_count() > 1 or sys.getprofile() or sys.gettrace():
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None if the caller closed it
            stream.flush()
    os._exit(status)


def _use_pandas_later() -> None:
    """Let pyarrow import pandas when a table becomes a DataFrame, and not with its first array.

    With the first array pyarrow imports pandas to recognise its objects in later arguments, where
    commands pass none. If pandas cannot be imported, it works without, and tries again when pandas
    is needed (``_check_import`` in pyarrow/pandas-shim.pxi). So its first try fails here.
    """
    import pyarrow

    sys.meta_path.insert(0, _NoPandas)
    try:
        pyarrow.array([])
    finally:
        sys.meta_path.remove(_NoPandas)


def _import_later(name: str) -> None:
    """Put a module in its place that is loaded when an attribute of it is first used.

    ``importlib.util.LazyLoader`` does not help: in Python 3.11 a second import loads its module.
    """
    spec = importlib.util.find_spec(name)
    assert spec and spec.loader
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    lock, is_loaded = threading.RLock(), False

    def load(attribute: str) -> Any:
        nonlocal is_loaded
        with lock:  # folders are read in threads
            if not is_loaded:
                is_loaded = True
                loader.exec_module(module)
        if attribute not in vars(module):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return vars(module)[attribute]

    vars(module)["__getattr__"] = load
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    setattr(sys.modules[package], last, module)


class _NoPandas:
    """A finder of modules that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError("pandas is not needed yet", name=name)
