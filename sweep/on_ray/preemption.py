"""Whether a trial's process has to leave: its machine is about to be taken away, or the run ends.

A spot notice, a deleted pod and SIGTERM to ``ray start --block`` all make Ray mark a node as
draining and wait for some time (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, 30 s) before its processes
are killed. Trials use that time for a checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import ray
from ray._private.state import state as cluster_state
from ray.experimental import internal_kv

ASK_SECONDS = 2.0
"""Least time between two questions; each one goes to the head."""


def request_preemption() -> None:
    """Tell every trial of this driver to write a checkpoint and end; called in the driver."""
    internal_kv._internal_kv_put(_key(), b"1")


def withdraw_preemption() -> None:
    """Take that back: the same driver may run trials again."""
    internal_kv._internal_kv_del(_key())


def preemption_check() -> Callable[[], bool]:
    """A question for a trial's process, cheap enough to be asked at every step."""
    here, key = ray.get_runtime_context().get_node_id(), _key()
    asked, answer = 0.0, False

    def preempted() -> bool:
        nonlocal asked, answer
        if not answer and time.monotonic() - asked >= ASK_SECONDS:
            asked = time.monotonic()
            answer = here in cluster_state.get_draining_nodes()
            answer = answer or internal_kv._internal_kv_exists(key)
        return answer

    return preempted


def leave() -> None:
    """End this process: a warm one on a machine that goes would be handed the next trial."""
    os._exit(0)


def _key() -> bytes:
    """Of this driver's job, so that another driver's trials stay."""
    return f"xlt:leave:{ray.get_runtime_context().get_job_id()}".encode()
