"""The cause of a worker's death, in the user's words. The texts are those of Ray 2.60."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from xlt.data.core.errors import InputError
from xlt.sweep.on_ray.deaths import (
    describe_task_error,
    explain_deaths,
    find_death_cause,
    read_death,
    was_taken_away,
)
from xlt.sweep.on_ray.tune.failed_starts import FailedStarts
from xlt.sweep.on_ray.worker import ImportFailedError
from xlt.sweep.on_ray.worker_log import WorkerLog, find_ending, read_worker_log
from xlt.trainables.training import watching_process

DIED = """The actor died unexpectedly before finishing this task.
	class_name: ImplicitFunc
	actor_id: 0dc6b639f7c86e6b759e0ae301000000
	pid: 31076
	ip: 10.0.0.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR """
KILLED = (
    f"{DIED}Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of "
    "file. Some common causes include: (1) the process was killed by the OOM killer due to high "
    "memory usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to "
    "SIGSEGV or another unexpected error."
)
EXITED = f"{DIED}Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code 3."
TERMINATED = (
    f"{DIED}Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code 1. The "
    "process receives a SIGTERM."
)
OUT_OF_MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the \
node (IP: 10.0.0.2, ID: 91c8) was 22.9GB used / 23.5GB limit (0.97)
OOM kill reason: Memory usage exceeded threshold"""
NODE_LOST = """The actor died unexpectedly before finishing this task.
	ip: 10.0.0.2
The actor died because its node has died. Node Id: 45bf
	the actor's node was terminated unexpectedly: health check failed"""
UNAVAILABLE = (
    "The actor 3924 is unavailable: The actor is temporarily unavailable: RpcError: RPC error: "
    "Socket closed rpc_code: 14. The task may or may not have been executed on the actor."
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            KILLED,
            "it was killed by SIGKILL, crashed or called os._exit on 10.0.0.2; if the kernel log "
            "there (dmesg) names process 31076, its machine was out of memory",
        ),
        (
            EXITED,
            "it exited with code 3 on 10.0.0.2; the log of the worker has the reason",
        ),
        (TERMINATED, "it received SIGTERM on 10.0.0.2"),
        (
            OUT_OF_MEMORY,
            "Ray killed it because node 10.0.0.2 was out of memory (22.9GB of 23.5GB used); run "
            "fewer trials at a time (resources.cpus, resources.gpus) or lower "
            "resources.micro_batch_size",
        ),
        (NODE_LOST, "10.0.0.2 was lost, or its Ray was stopped"),
        (UNAVAILABLE, "its connection broke, because the process or its whole node stopped"),
        ("another\n  reason", "Ray says: another reason"),
        ("", "Ray gives no reason"),
    ],
)
def test_the_cause_is_the_one_that_ray_saw(text: str, cause: str) -> None:
    assert find_death_cause(text) == cause


@pytest.mark.parametrize("why", ["made no progress", "was stopped"])
def test_a_process_that_the_watchdog_killed_says_so_in_its_log(
    why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.kill", lambda pid, number: None)
    monkeypatch.setattr(watching_process, "DUMP_SECONDS", 0.0)
    watching_process.kill(31076, why, 1800.0)
    line = capsys.readouterr().err
    log = WorkerLog("w.err", find_ending(f"{line}Thread 0x1 (most recent call first):\nlast"))
    assert find_death_cause(KILLED, log) == (
        f"it {why} for 30 minutes (resources.stall_minutes), so the watchdog killed it; its log "
        "w.err shows where it stood"
    )


def test_an_error_counts_the_deaths_and_repeats_what_our_code_raised() -> None:
    once, twice = (str(explain_deaths(times, TERMINATED)) for times in (1, 2))
    assert once == "its worker process died once: it received SIGTERM on 10.0.0.2"
    assert twice.startswith("its worker process died 2 times; the last time: it received SIGTERM")
    error = ImportFailedError("no torch")
    assert explain_deaths(3, error) is error


SEGFAULT = """:job_id:01000000
:actor_name:_trainable
*** SIGSEGV received at time=1795969142 on cpu 1 ***
PC: @     0x7fc0fe6a3f16  (unknown)  (unknown)
[2026-11-29 16:19:02,747 E 4832 4832] logging.cc:474: *** SIGSEGV received ***
Fatal Python error: Segmentation fault

Stack (most recent call first):
  File "/env/lib/python3.11/threading.py", line 331 in wait

Extension modules: msgpack._cmsgpack, psutil._psutil_linux
"""
RAISED = """:job_id:01000000
Traceback (most recent call last):
  File "/env/lib/python3.11/site.py", line 1, in <module>
    import missing
ModuleNotFoundError: No module named 'missing'
"""


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (SEGFAULT, "Fatal Python error: Segmentation fault"),
        (RAISED, "ModuleNotFoundError: No module named 'missing'"),
        (":job_id:01000000\n:actor_name:_trainable\n", ""),
        ("", ""),
    ],
)
def test_the_ending_of_a_log_is_its_error(content: str, ending: str) -> None:
    assert find_ending(content) == ending


@pytest.mark.parametrize(
    ("text", "ending", "cause"),
    [
        (EXITED, "no disk", "it exited with code 3 on 10.0.0.2; its log w.err ends: no disk"),
        (EXITED, "", "it exited with code 3 on 10.0.0.2; its log w.err says nothing"),
        (
            KILLED,
            "Fatal Python error: Bus error",
            "it crashed on 10.0.0.2; its log w.err ends: Fatal Python error: Bus error",
        ),
        (
            KILLED,
            "a warning",
            "it was killed by SIGKILL, crashed or called os._exit on 10.0.0.2; its log w.err "
            "ends: a warning",
        ),
    ],
)
def test_a_cause_before_the_first_trial_repeats_the_log_and_guesses_no_lack_of_memory(
    text: str, ending: str, cause: str
) -> None:
    assert find_death_cause(text, WorkerLog("w.err", ending), is_made=False) == cause


def test_three_workers_that_die_unready_one_after_the_other_end_a_run() -> None:
    count = FailedStarts()
    for _ in range(2):
        count.add("")
        count.add("")
        count.reset()
        count.refuse()
    for _ in range(3):
        count.add(ImportFailedError("it cannot import the code of trials: no"))
    with pytest.raises(InputError, match="before they start a trial; the last one: it cannot"):
        count.refuse()


@pytest.mark.parametrize(
    ("text", "was_taken"),
    [
        (KILLED, False),
        (EXITED, False),
        (TERMINATED, True),
        (OUT_OF_MEMORY, True),
        (NODE_LOST, True),
    ],
)
def test_a_process_that_others_ended_says_nothing_about_its_environment(
    text: str, was_taken: bool
) -> None:
    assert was_taken_away(text) == was_taken


def test_a_task_error_is_described_in_one_line() -> None:
    raised = RayTaskError("read", "traceback", KeyError("subjects"))
    assert describe_task_error(raised) == "KeyError: 'subjects'"
    died = RayActorError("00", EXITED, False, False)
    assert describe_task_error(died) == (
        "its worker process died: it exited with code 3 on 10.0.0.2; the log of the worker has the "
        "reason"
    )


class EndedTrial:
    """The files that Tune writes for a trial that ended with an error."""

    def __init__(self, folder: Path) -> None:
        self.error_file, self.pickled_error_file = str(folder / "txt"), str(folder / "pkl")


def test_an_error_of_our_code_is_read_as_it_was_raised(tmp_path: Path) -> None:
    trial = EndedTrial(tmp_path)
    assert read_death(trial) == ""
    Path(trial.error_file).write_text(KILLED)
    assert read_death(trial) == KILLED
    error = RayTaskError("train", "traceback", ValueError("no such column"))
    Path(trial.pickled_error_file).write_bytes(cloudpickle.dumps(error))
    cause = read_death(trial)
    assert isinstance(cause, ValueError) and str(cause) == "no such column"


@pytest.mark.ray
def test_the_log_of_a_crashed_worker_is_read_on_its_node(ray_address: str) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Crashing:
        def crash(self) -> None:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(RayActorError) as caught:
        ray.get(Crashing.remote().crash.remote())
    log = read_worker_log(str(caught.value))
    assert log and log.has_crashed and Path(log.path).read_text()
    assert log.ending == "Fatal Python error: Segmentation fault"
    assert read_worker_log("an error without a process") is None
