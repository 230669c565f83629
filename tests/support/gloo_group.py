"""Groups of processes that compute together over gloo."""

from __future__ import annotations

import faulthandler
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException

# The server that forks the processes imports these once, not each process of each group.
multiprocessing.set_forkserver_preload(["pytest", "xlt.trainables.trial.run_pack"])


class CrashedError(RuntimeError):
    """A process of a group was ended by a signal; the message has the stacks of its threads."""


def run_together(work: Callable[..., None], arguments: tuple[Any, ...], num_workers: int) -> None:
    """Run ``work(rank, *arguments)`` in new processes of one group, each with one thread.

    Args:
        work: Function of a module, with arguments that can be pickled.
        arguments: Arguments after the rank.
        num_workers: Number of processes.

    Raises:
        CrashedError: A process was ended by a signal.
    """
    # They meet at this process: it outlives them, and its port is surely free.
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as stacks:
        try:
            # A server's children end at once; an interpreter that ends beside gloo's threads may
            # abort.
            multiprocessing.start_processes(
                _work_in_group, (work, arguments, store.port, num_workers, stacks),
                nprocs=num_workers, start_method="forkserver",
            )  # fmt: skip
        except ProcessExitedException as error:
            if error.signal_name is None:
                raise
            texts = [file.read_text() for file in sorted(Path(stacks).iterdir())]
            raise CrashedError("\n".join([str(error), *texts])) from error


def run_together_again(make: Callable[[], None]) -> None:
    """Call a function that calls :func:`run_together`, once more if a process crashed.

    Native code of torch crashed in 2 of some 300 groups of these tests (SIGABRT, SIGSEGV), never
    twice in turn. A sweep restarts the trial of a process that died; so does this.
    """
    try:
        make()
    except CrashedError as error:
        warnings.warn(f"a group crashed and is run again: {error}", stacklevel=2)
        make()


def _work_in_group(
    rank: int, work: Callable[..., None], arguments: tuple[Any, ...], port: int, num_workers: int,
    stacks: str,
) -> None:  # fmt: skip
    with Path(stacks, str(rank)).open("w") as file:
        faulthandler.enable(file)
        torch.set_num_threads(1)
        store = distributed.TCPStore("127.0.0.1", port)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=num_workers)
        work(rank, *arguments)
        distributed.barrier()  # none hangs up while another one still writes
        distributed.destroy_process_group()
        faulthandler.disable()
