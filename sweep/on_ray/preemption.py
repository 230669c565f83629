"""Preemption: tell trials to save a checkpoint and stop, before their processes are killed.

A spot notice, a deleted pod and SIGTERM to ``ray start --block`` all make Ray mark a node as
draining. Ray waits (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, 30 s) before it kills the processes of
the node, and trials use that time to save a checkpoint. A driver that stops preempts all of its
trials.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import ray
from ray._private.state import state as cluster_state
from ray.experimental import internal_kv

ASK_SECONDS = 2.0
"""Least time between two requests to the head of the cluster."""


def request_preemption() -> None:
    """Ask every trial of this driver to save a checkpoint and stop; called by the driver."""
    internal_kv._internal_kv_put(_key(), b"1")


def withdraw_preemption() -> None:
    """Withdraw the request, so that the same driver can run trials again."""
    internal_kv._internal_kv_del(_key())


def make_preemption_check() -> Callable[[], bool]:
    """Make a function that returns whether this process is preempted; called by a worker.

    The function is cheap enough to be called at every step.
    """
    node_id, key = ray.get_runtime_context().get_node_id(), _key()
    last_request, is_preempted = 0.0, False

    def preempted() -> bool:
        nonlocal last_request, is_preempted
        if not is_preempted and time.monotonic() - last_request >= ASK_SECONDS:
            last_request = time.monotonic()
            is_draining = node_id in cluster_state.get_draining_nodes()
            is_preempted = is_draining or internal_kv._internal_kv_exists(key)
        return is_preempted

    return preempted


def end_process() -> None:
    """End this process after a preemption; otherwise Tune would give it the next trial."""
    os._exit(0)


def _key() -> bytes:
    """Return a key that only trials of this driver's job read."""
    return f"xlt:preempt:{ray.get_runtime_context().get_job_id()}".encode()
