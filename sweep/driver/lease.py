"""Lease of an experiment: a small file beside its plan that prevents two drivers from running it.

The lease names the process that runs or searches the experiment, and that process renews it as long
as it lives. Two drivers could damage nothing, because trials have ids and are written atomically,
but they would compute everything twice.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pydantic
from rich.console import Console

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json
from xlt.data.core.settings import Settings
from xlt.sweep.driver.console import say
from xlt.sweep.driver.sigterm import handle_sigterm
from xlt.trainables.results.result import Results

BEAT_SECONDS = 10.0
"""Time between two renewals."""
MISSED_BEATS = 12
"""Number of missed renewals after which a holder on another machine counts as dead. A storage that
fails for a minute must not cost the holder its experiment."""
SETTLE_SECONDS = 2.0
"""Delay between writing the lease and re-reading it to detect a competing writer."""


_log = logging.getLogger(__name__)

_HELD: list[_Lease] = []
"""Leases of this process."""


class Holder(Settings):
    """The process that drives an experiment: the content of a lease file."""

    lease_id: str
    """Random id of this driver."""
    host: str
    """Name of the machine, for messages."""
    machine: str
    """Key of the namespace of process ids, see :func:`identify_machine`."""
    pid: int = pydantic.Field(gt=0, lt=2**31)
    """Process id."""
    started: str
    """Start of the process in clock ticks of the system, because process ids are reused."""
    since: pydantic.AwareDatetime
    """Time when the process claimed the experiment."""
    renewed: pydantic.AwareDatetime
    """Time of the last renewal, by the clock of its machine."""

    def __str__(self) -> str:
        """Format for messages: ``pid 4711 on node1 since 2026-05-01 10:00:00 UTC``."""
        return f"pid {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def hold_lease(
    location: Results, experiment: str, console: Console, *, wait: bool = False
) -> Iterator[None]:
    """Hold the lease of an experiment while the block runs; blocks must not be nested.

    On a local or network disk, an exclusive create claims a free experiment. Pyarrow offers no
    exclusive create on an object store, and the file of a dead holder has to be replaced on any
    storage. In both cases this function writes the lease and re-reads it after
    :data:`SETTLE_SECONDS`: the last writer holds the experiment. A driver that was delayed for
    longer between its check and its write can take over a held experiment; the other driver
    notices this at its next renewal and stops.

    Args:
        location: The results location, after :meth:`Results.prepare`.
        experiment: Name of the experiment.
        console: Output for the name of the holder that this driver waits for.
        wait: Whether to wait while another driver holds the experiment.

    Raises:
        InputError: Another living driver holds the experiment, or took it over while the block
            ran, or the location cannot be written.
    """
    lease = _Lease(location, experiment)
    _HELD.append(lease)
    try:
        with _enable_interrupts(), handle_sigterm():
            lease.claim(wait, console)
            yield
    except (pa.ArrowException, OSError) as error:
        if lease.was_claimed:  # an error of the block
            raise
        raise InputError(
            f"{lease.place} cannot be written: {error}; restore write access, then start again"
        ) from error
    finally:
        lease.release()
        _HELD.remove(lease)
        if lease.taken_by:
            raise InputError(
                f"{lease.place} was taken over by {lease.taken_by}, because this driver did not "
                "renew its lease for a long time; it has stopped, and finished trials are kept"
            )


def release_all() -> None:
    """Release all leases of this process, which ends at once without leaving its blocks."""
    for lease in _HELD:
        lease.remove_file()


@contextmanager
def _enable_interrupts() -> Iterator[None]:
    """Enable SIGINT, which shells disable for background jobs.

    A driver that lost its lease stops itself with SIGINT, see :class:`_Lease`.
    """
    is_ignored = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    )
    if is_ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def identify_machine() -> str:
    """Return a key that is equal for processes which share a namespace of process ids.

    Containers on one machine share the boot id and may share a host name, but not the namespace.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def find_process_start(pid: int) -> str | None:
    """Return when a process started, in clock ticks.

    Returns:
        None if the process does not run; empty if the system does not report the start.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it runs as another user
        pass
    with suppress(OSError):
        # Skip the name, which may hold spaces and brackets. proc(5): field 3 state, 22 start time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return ""


class _Lease:
    """A lease file, and the thread that renews it."""

    def __init__(self, location: Results, experiment: str) -> None:
        self._location, self._experiment = location, experiment
        self._name = location.lease_file(experiment)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.was_claimed = False
        self.taken_by: Holder | None = None
        now = datetime.now(UTC)
        self._mine = Holder(
            lease_id=uuid.uuid4().hex, host=platform.node(), machine=identify_machine(),
            pid=os.getpid(), started=find_process_start(os.getpid()) or "", since=now, renewed=now,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """The name of the experiment and its location in messages."""
        return f"experiment {self._experiment!r} in {self._location.uri}"

    def claim(self, wait: bool, console: Console) -> None:
        """Claim the experiment; wait for its holder, or raise InputError."""
        self._location.make_experiments_folder()
        announced = ""
        while True:
            holder = self._read()
            if holder is None or self._is_dead(holder, console):
                if self._take(holder):
                    break
                continue  # another driver was faster: read its lease
            if not wait:
                raise InputError(
                    f"{self.place} is driven by {holder}; wait for that driver with --wait, stop "
                    "it with Ctrl-C, or use another name (--set name=...) or another --results"
                )
            if announced != holder.lease_id:
                say(console, f"{self.place} is driven by {holder}; waiting until it ends")
                announced = holder.lease_id
            time.sleep(BEAT_SECONDS)
        self.was_claimed = True
        self._thread.start()

    def release(self) -> None:
        """Stop renewing, and remove the file if this driver still holds the lease."""
        self._ended.set()
        if self.was_claimed:
            self._thread.join()
        self.remove_file()

    def remove_file(self) -> None:
        """Remove the file if this driver still holds the lease."""
        with suppress(OSError, InputError):  # a file that stays soon counts as dead
            if self._is_mine(self._read()):
                self._location.fs.delete_file(self._location.path(self._name))

    def _read(self) -> Holder | None:
        """Read the holder from the lease file; None if there is no file."""
        try:
            return Holder.parse(self._location.read_json(self._name), self._name)
        except FileNotFoundError:
            return None
        except InputError as error:
            raise InputError(
                f"{error}; remove the file if no driver of {self.place} runs"
            ) from error

    def _is_mine(self, holder: Holder | None) -> bool:
        return holder is not None and holder.lease_id == self._mine.lease_id

    def _is_dead(self, holder: Holder, console: Console) -> bool:
        """Return whether a holder ended; for another machine, judge by its renewals."""
        if holder.machine == self._mine.machine:
            return find_process_start(holder.pid) not in ("", holder.started)
        silence = abs((datetime.now(UTC) - holder.renewed).total_seconds())
        if silence <= MISSED_BEATS * BEAT_SECONDS:
            return False
        # Clocks of machines differ, so wait for a renewal before the holder counts as dead.
        say(console, f"{self.place} is driven by {holder}; its lease is old, checking for renewal")
        time.sleep(2 * BEAT_SECONDS)
        return self._read() in (None, holder)

    def _take(self, holder: Holder | None) -> bool:
        """Write the lease file in place of a dead holder's; return whether the lease is ours."""
        now = datetime.now(UTC)
        self._mine = self._mine.model_copy(update={"since": now, "renewed": now})
        if holder is None:
            created = self._location.create(self._name, self._content())
            if created is not None:
                return created
        self._location.write(self._name, self._content())
        time.sleep(SETTLE_SECONDS)
        return self._is_mine(self._read())

    def _keep(self) -> None:
        """Renew the lease until it is released or another driver takes it over."""
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._location.require()
                holder = self._read()
                if holder is not None and not self._is_mine(holder):
                    self.taken_by = holder
                    # Act as Ctrl-C on the main thread, even if it waits for something.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                self._mine = self._mine.model_copy(update={"renewed": datetime.now(UTC)})
                self._location.write(self._name, self._content())
            except Exception as error:  # without this thread nobody would renew the lease
                _log.warning("the lease of %s is not renewed: %s; trying again", self.place, error)

    def _content(self) -> bytes:
        return to_json(self._mine.model_dump(mode="json"))
