"""one_thread: runs a function with a single thread for products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Make NumPy multiply matrices in a single thread while a function runs.

    The products of an analysis are small and many. Threads that wait for each other cost more than
    they save, on a busy machine several times as much as everything else.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return limited
