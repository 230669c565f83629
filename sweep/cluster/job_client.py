"""A cluster's job server: connecting to it, following a job to its end, stopping it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from xlt.data.core.errors import InputError

for _name in (
    "ray.dashboard.modules.dashboard_sdk",  # tells of every package
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.job.sdk",  # and of every connection that ends
):
    logging.getLogger(_name).setLevel(logging.WARNING)

OLDEST_RAY = (2, 60)
"""Major and minor version that a cluster needs, as pyproject.toml asks for."""
ANSWER_SECONDS = 10
"""Given to a job server to accept a connection; Ray's client itself would wait for minutes."""
LOST_SECONDS = 120
"""How long a connection that broke is tried again before following is given up."""
RETRY_SECONDS = 2
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray's client takes instead of the address that it is given."""
OWN_STATUSES = (1, 2, 130)
"""Exit statuses of ``xlt run`` beside 0."""
FAILED, STOPPED = 1, 130


def connect(address: str) -> JobSubmissionClient:
    """A client of the job server at an address, which has answered.

    Args:
        address: ``http://HOST:PORT`` or ``https://...``.

    Raises:
        InputError: Another form of address, nothing or something else that answers there, no or a
            wrong token, a cluster of an older Ray, or a package is missing.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"--address {address!r} is not that of a job server; give http://HOST:8265, where the "
            "dashboard of the cluster's head listens"
        )
    if importlib.util.find_spec("aiohttp") is None:
        raise InputError(
            "Ray's client of job servers needs the package aiohttp; pip install 'xlt-sweep[submit]'"
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), ANSWER_SECONDS).close()
        with _without(OVERRIDES):
            client = JobSubmissionClient(address)
        version = str(client._server_ray_version)
    except AuthenticationError as error:
        raise InputError(
            f"the cluster at {address} wants another token, or one at all: set RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"
        ) from error
    except OSError as error:  # ConnectionError and what requests raises, too
        raise InputError(
            f"no job server at {address}: {error}; start the cluster's head with its dashboard "
            "(ray[default], `ray start --head --dashboard-host=...`), or mend --address"
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"what answers at {address} is no job server of Ray: {error}") from error
    if tuple(map(int, version.split(".")[:2])) < OLDEST_RAY:
        raise InputError(
            f"the cluster at {address} runs Ray {version}; xlt needs "
            f"{'.'.join(map(str, OLDEST_RAY))} or newer there (here: {ray.__version__})"
        )
    return client


def send(client: JobSubmissionClient, **job: Any) -> None:
    """Upload what a job needs and submit it; arguments are those of Ray's ``submit_job``.

    Raises:
        InputError: The server refused it, or was lost.
    """
    try:
        client.submit_job(**job)
    except (RuntimeError, ValueError, AuthenticationError, OSError) as error:
        raise InputError(f"the job server did not take the job: {error}") from error


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> int:
    """Write a job's log as it grows, until the job has ended.

    Args:
        client: Of the job's cluster.
        job_id: What the job was called when it was submitted.
        write: Given the log in pieces, each once, however often the connection breaks.

    Returns:
        The exit status of the driver, ``xlt run``; 1 if it was killed, 130 if it was stopped.

    Raises:
        InputError: No such job, a driver that never began, or a server that was lost for
            :data:`LOST_SECONDS`.
    """
    import aiohttp

    _details(client, job_id)
    num_written = 0
    lost_since: float | None = None

    async def tail() -> None:
        nonlocal num_written, lost_since
        to_skip = num_written  # a new connection begins at the log's start
        async for text in client.tail_job_logs(job_id):
            lost_since = None
            new, to_skip = text[to_skip:], max(0, to_skip - len(text))
            num_written += len(new)
            if new:
                write(new)

    while True:
        try:
            asyncio.run(tail())
            details = client.get_job_info(job_id)
            lost_since = None
            if details.status.is_terminal():
                return _status(job_id, details)
        except (aiohttp.ClientError, RuntimeError, OSError) as error:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > LOST_SECONDS:
                raise InputError(
                    f"the job server does not answer any more ({error}); job {job_id} goes on if "
                    "its cluster does: follow it again when the server is back"
                ) from error
        time.sleep(RETRY_SECONDS)


def stop(client: JobSubmissionClient, job_id: str) -> bool:
    """Stop a job as Ctrl-C stops ``xlt run``; whether it was running.

    Raises:
        InputError: No such job, or the server was lost.
    """
    _details(client, job_id)
    try:
        return bool(client.stop_job(job_id))
    except (RuntimeError, OSError) as error:
        raise InputError(f"the job server did not stop job {job_id}: {error}") from error


def _details(client: JobSubmissionClient, job_id: str) -> Any:
    """What the server tells of a job."""
    try:
        return client.get_job_info(job_id)
    except (RuntimeError, OSError) as error:
        if "status code 404" not in str(error):
            raise InputError(f"the job server cannot tell of job {job_id}: {error}") from error
        jobs = [job.submission_id for job in client.list_jobs() if job.submission_id]
        there = f"there are {', '.join(jobs)}" if jobs else "there are none"
        raise InputError(f"the cluster knows no job {job_id!r}; {there}") from error


def _status(job_id: str, details: Any) -> int:
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        return STOPPED
    code = details.driver_exit_code
    if code is None:
        raise InputError(f"job {job_id} has failed: {details.message}")
    return code if code in OWN_STATUSES else FAILED


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """The environment without these variables, for as long as this lasts."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= kept
