"""Results locations that accept no more files: retry, then end the command with one error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.sweep.backends.events import Unwritable
from xlt.trainables.results.result import Results

Written = TypeVar("Written")


def write_or_refuse(results: Results, function: Callable[[], Written]) -> Written:
    """Call a function that writes results in the driver; retry it while the storage fails.

    Raises:
        InputError: The location still accepts no files after the retries.
    """
    try:
        return retry(function)
    except (pa.ArrowException, OSError) as error:
        refuse_unwritable(results, Unwritable(str(error)))
        raise


def refuse_unwritable(results: Results, unwritable: Unwritable | None) -> None:
    """Raise InputError if the results location accepts no more files."""
    if unwritable:
        raise InputError(
            f"results location {results.uri!r} cannot be written any more: {unwritable.error}; "
            "finished trials are kept; free space, restore write access, or move or mount the "
            "location back, then start again"
        )
