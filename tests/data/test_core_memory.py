"""The garbage collector pauses, and goes on whatever happens."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from xlt.data.core.memory import paused_collector


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


def test_the_collector_pauses_and_goes_on_after_an_error() -> None:
    gc.enable()
    with pytest.raises(KeyError), paused_collector():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_was_paused_before_stays_paused() -> None:
    gc.disable()
    with paused_collector(), paused_collector():
        pass
    assert not gc.isenabled()


def test_each_call_of_a_decorated_function_pauses() -> None:
    gc.enable()
    look = paused_collector()(gc.isenabled)
    assert [look(), gc.isenabled(), look(), gc.isenabled()] == [False, True, False, True]
