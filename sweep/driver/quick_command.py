"""Commands that read and end soon, without habits of packages that cost them time."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from xlt.data.core.memory import paused_collector


@contextmanager
def quick_command() -> Iterator[None]:
    """Pause the garbage collector, and import two modules when they are used; a decorator."""
    is_alone = "pyarrow" not in sys.modules  # else the process is not this command's alone
    with paused_collector():
        if is_alone:
            # pydantic would read the metadata of all packages to find plug-ins that log validation.
            os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
            _use_pandas_later()
            _import_later("pyarrow.compute")
        yield
        if is_alone:
            gc.freeze()  # else the collector walks all objects at once when it goes on


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
    lock, is_loaded = RLock(), False

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
