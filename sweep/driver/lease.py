"""Who drives an experiment: a small file beside its plan, so that two drivers do not run it twice.

The lease says which process runs or searches the experiment; that process renews it as long as it
lives. Trials have ids and are written whole, so that two drivers could
spoil nothing; they would compute everything twice.
"""

from __future__ import annotations

import errno
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
import pyarrow.fs as pafs
from rich.console import Console

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json
from xlt.data.core.settings import Settings
from xlt.sweep.driver.terminated import sigterm_heard
from xlt.trainables.results.result import Results

BEAT_SECONDS = 10.0
"""Between two renewals."""
MISSED_BEATS = 12
"""So many missed in a row make a holder on another machine look dead: a storage that fails for a
minute must not cost it the experiment."""
SETTLE_SECONDS = 2.0
"""From a write to the look whether another one came after it; much longer than both take."""


_HELD: list[_Lease] = []
"""What this process holds."""


class Holder(Settings):
    """The process that drives an experiment, as the lease file says."""

    lease_id: str
    """Of this driver and no other."""
    host: str
    """Name of its machine, for people."""
    machine: str
    """What must be equal for process ids to mean the same: see :func:`this_machine`."""
    pid: int
    """Its process."""
    started: str
    """When that process started, in the system's own ticks; pids are used again."""
    since: datetime
    """Since when it drives the experiment."""
    renewed: datetime
    """Its last sign of life, by its own clock."""

    def __str__(self) -> str:
        """As people are told, e.g. ``pid 4711 on node1 since 2026-05-01 10:00:00 UTC``."""
        return f"pid {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def held(
    location: Results, experiment: str, console: Console, *, wait: bool = False
) -> Iterator[None]:
    """Hold an experiment while the block runs; nested, under the same name, it would refuse itself.

    On a local or network disk a free experiment is taken by an exclusive create. An object store
    offers none through pyarrow, and a dead holder's file is replaced anywhere: there the lease is
    written, and after :data:`SETTLE_SECONDS` read back; whoever wrote last holds it. A driver that
    was held up longer than that between its look and its write takes an experiment that is held;
    the other one finds this out at its next renewal and stops.

    Args:
        location: Where the experiment's results lie; prepared.
        experiment: Its name.
        console: Told whom it waits for.
        wait: Whether to wait until a living holder is done.

    Raises:
        InputError: Another living driver holds it, or took it over while the block ran; the
            location takes no files.
    """
    lease = _Lease(location, experiment)
    _HELD.append(lease)
    try:
        with _hearing_interrupts(), sigterm_heard():
            lease.claim(wait, console)
            yield
    except (pa.ArrowException, OSError) as error:
        if lease.was_claimed:  # the block's own
            raise
        raise InputError(
            f"{lease.place} cannot be written: {error}; mend the access, then start again"
        ) from error
    finally:
        lease.release()
        _HELD.remove(lease)
        if lease.taken_by:
            raise InputError(
                f"{lease.place} was taken over by {lease.taken_by}, because this driver gave no "
                "sign of life for long; it has stopped, and what was finished is kept"
            )


def release_all() -> None:
    """Release what this process holds: before an end at which its blocks do not end."""
    for lease in _HELD:
        lease.release()


@contextmanager
def _hearing_interrupts() -> Iterator[None]:
    """SIGINT interrupts this process, also where a shell has told its background jobs not to.

    A driver that was replaced is stopped by it, see :class:`_Lease`.
    """
    is_deaf = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    )
    if is_deaf:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def this_machine() -> str:
    """Equal for processes that see each other by their process ids, and for no others.

    Containers share a boot and may share a host name, but not the namespace of process ids.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def start_of(pid: int) -> str | None:
    """When a process started; None: it does not run, empty: this system does not tell when."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # another user's
        pass
    with suppress(OSError):
        # Fields after the name, which may hold spaces and brackets; proc(5): 3 state, 22 start.
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
            lease_id=uuid.uuid4().hex, host=platform.node(), machine=this_machine(),
            pid=os.getpid(), started=start_of(os.getpid()) or "", since=now, renewed=now,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"experiment {self._experiment!r} in {self._location.uri}"

    def claim(self, wait: bool, console: Console) -> None:
        """Take the experiment, or raise InputError; or wait until it can be taken."""
        self._location.make_experiments_folder()
        told = ""
        while True:
            there = self._read()
            if there is None or self._is_dead(there, console):
                if self._take(there):
                    break
                continue  # another one was faster: look who
            if not wait:
                raise InputError(
                    f"{self.place} is driven by {there}; wait for it with --wait, end it there "
                    "(Ctrl-C), or give this one another name (--set name=...) or another --results"
                )
            if told != there.lease_id:
                _say(console, f"{self.place} is driven by {there}; waiting until that is done")
                told = there.lease_id
            time.sleep(BEAT_SECONDS)
        self.was_claimed = True
        self._thread.start()

    def release(self) -> None:
        """Stop renewing, and remove the file if it is still ours."""
        self._ended.set()
        if self.was_claimed:
            self._thread.join()
        with suppress(OSError, InputError):  # else it looks dead after a while, which it is
            if self._is_ours(self._read()):
                self._location.fs.delete_file(self._location.path(self._name))

    def _read(self) -> Holder | None:
        """Who the file names; None: there is none."""
        try:
            return Holder.parse(self._location.read_json(self._name), self._name)
        except FileNotFoundError:
            return None
        except InputError as error:
            raise InputError(f"{error}; remove it if no driver of {self.place} runs") from error

    def _is_ours(self, there: Holder | None) -> bool:
        return there is not None and there.lease_id == self._mine.lease_id

    def _is_dead(self, there: Holder, console: Console) -> bool:
        """Whether its process ended; of another machine's only signs of life can be seen."""
        if there.machine == self._mine.machine:
            return start_of(there.pid) not in ("", there.started)
        silence = abs((datetime.now(UTC) - there.renewed).total_seconds())
        if silence <= MISSED_BEATS * BEAT_SECONDS:
            return False
        # Clocks of machines differ: it is dead if it does not renew while this one looks on.
        _say(console, f"{self.place} is driven by {there}, silent since then; seeing if it lives")
        time.sleep(2 * BEAT_SECONDS)
        return self._read() in (None, there)

    def _take(self, there: Holder | None) -> bool:
        """Write the file; whether it is ours then."""
        now = datetime.now(UTC)
        self._mine = self._mine.model_copy(update={"since": now, "renewed": now})
        if there is None and isinstance(self._location.fs, pafs.LocalFileSystem):
            partial = self._location.lease_draft(self._mine.lease_id)
            self._location.write(partial, self._content())
            whole = self._location.path(partial)
            try:
                os.link(whole, self._location.path(self._name))
                return True
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise  # else a disk without links
            finally:
                self._location.fs.delete_file(whole)
        self._location.write(self._name, self._content())
        time.sleep(SETTLE_SECONDS)
        return self._is_ours(self._read())

    def _keep(self) -> None:
        """Renew it until it is released, or until another driver has it."""
        while not self._ended.wait(BEAT_SECONDS):
            # What cannot be renewed now is renewed at the next beat.
            with suppress(OSError, InputError):
                there = self._read()
                if there is not None and not self._is_ours(there):
                    self.taken_by = there
                    # As by Ctrl-C, and to the thread that may be waiting for something.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                self._mine = self._mine.model_copy(update={"renewed": datetime.now(UTC)})
                self._location.write(self._name, self._content())

    def _content(self) -> bytes:
        return to_json(self._mine.model_dump(mode="json"))


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
