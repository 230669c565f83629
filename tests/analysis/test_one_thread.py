"""Threads of matrix products, as threadpoolctl counts them."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from xlt.analysis.metrics.one_thread import one_thread


def count_threads(*, fail: bool = False) -> list[int]:
    if fail:
        raise ValueError("stop")
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_a_function_runs_with_one_thread_and_leaves_the_others() -> None:
    np.ones(1)  # loads a library of matrix products
    with threadpool_limits(2):
        before = count_threads()
        assert set(one_thread(count_threads)()) == {1}
        assert count_threads() == before
        with pytest.raises(ValueError, match="stop"):
            one_thread(count_threads)(fail=True)
        assert count_threads() == before
