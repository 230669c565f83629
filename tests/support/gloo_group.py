"""Groups of processes that compute together over gloo."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, multiprocessing


def run_together(work: Callable[..., None], arguments: tuple[Any, ...], num_workers: int) -> None:
    """Run ``work(rank, *arguments)`` in new processes of one group, each with one thread.

    Args:
        work: Function of a module, with arguments that can be pickled.
        arguments: Arguments after the rank.
        num_workers: Number of processes.
    """
    # They meet at this process: it outlives them, and its port is surely free.
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # A server's children end at once; an interpreter that ends beside gloo's threads may abort.
    multiprocessing.start_processes(
        _work_in_group, (work, arguments, store.port, num_workers),
        nprocs=num_workers, start_method="forkserver",
    )  # fmt: skip


def _work_in_group(
    rank: int, work: Callable[..., None], arguments: tuple[Any, ...], port: int, num_workers: int
) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    store = distributed.TCPStore("127.0.0.1", port)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=num_workers)
    work(rank, *arguments)
    distributed.barrier()  # none hangs up while another one still writes
    distributed.destroy_process_group()
