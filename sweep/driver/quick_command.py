"""Commands that read and end soon, without two habits of Python and pyarrow that cost them time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from xlt.data.core.memory import paused_collector


@contextmanager
def quick_command() -> Iterator[None]:
    """Pause the garbage collector, and import pandas when it is used; a decorator of a command."""
    if "pyarrow" not in sys.modules:  # else the process is not this command's alone
        _use_pandas_later()
    with paused_collector():
        yield


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


class _NoPandas:
    """A finder of modules that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError("pandas is not needed yet", name=name)
