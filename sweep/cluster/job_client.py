"""Client of a cluster's job server: connect to it, and submit, follow or stop a job."""

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
    "ray.dashboard.modules.dashboard_sdk",  # logs each uploaded package
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.job.sdk",  # logs each closed connection
):
    logging.getLogger(_name).setLevel(logging.WARNING)

OLDEST_RAY = (2, 60)
"""Oldest version that a cluster may run, the same as in pyproject.toml."""
ANSWER_SECONDS = 10
"""Timeout for a connection to a job server; Ray's client would wait for minutes."""
LOST_SECONDS = 120
"""Time for which a broken connection is retried."""
RETRY_SECONDS = 2
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that take precedence over the address given to Ray's client."""
OWN_STATUSES = (1, 2, 130)
"""Exit statuses of ``xlt run`` other than 0."""
FAILED, STOPPED = 1, 130


def connect(address: str) -> JobSubmissionClient:
    """Connect to the job server at an address.

    Args:
        address: ``http://HOST:PORT`` or ``https://...``.

    Raises:
        InputError: The address has another form, no job server answers there, the token is missing
            or wrong, the cluster runs an older Ray, or a package is missing.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"--address {address!r} is not the address of a job server; give http://HOST:8265, the "
            "address of the dashboard on the cluster's head"
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
            f"the cluster at {address} requires its token: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to a file with that token"
        ) from error
    except OSError as error:  # includes ConnectionError and the errors of requests
        raise InputError(
            f"no job server at {address}: {error}; start the cluster's head with its dashboard "
            "(ray[default], `ray start --head --dashboard-host=...`), or fix --address"
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"the server at {address} is not a job server of Ray: {error}") from error
    if tuple(map(int, version.split(".")[:2])) < OLDEST_RAY:
        raise InputError(
            f"the cluster at {address} runs Ray {version}, but xlt needs "
            f"{'.'.join(map(str, OLDEST_RAY))} or newer (this machine has {ray.__version__})"
        )
    return client


def send(client: JobSubmissionClient, **job: Any) -> None:
    """Upload the files of a job and submit it.

    Args:
        client: Client of the cluster.
        **job: Arguments of Ray's ``submit_job``.

    Raises:
        InputError: The server refused the job, or the connection was lost.
    """
    try:
        client.submit_job(**job)
    except (RuntimeError, ValueError, AuthenticationError, OSError) as error:
        raise InputError(f"the job server did not accept the job: {error}") from error


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> int:
    """Write a job's log as it grows, until the job ends.

    Args:
        client: Client of the job's cluster.
        job_id: Id of the job.
        write: Receiver of the log in pieces, each exactly once even if the connection breaks.

    Returns:
        The exit status of the driver, ``xlt run``; 1 if it was killed, 130 if it was stopped.

    Raises:
        InputError: The cluster has no such job, its driver did not start, or the server gave no
            answer for :data:`LOST_SECONDS`.
    """
    import aiohttp

    _details(client, job_id)
    num_written = 0
    lost_since: float | None = None

    async def tail() -> None:
        nonlocal num_written, lost_since
        to_skip = num_written  # a new connection starts at the beginning of the log
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
                    f"the job server does not answer any more ({error}); job {job_id} still runs "
                    "if its cluster does: follow it again when the server is back"
                ) from error
        time.sleep(RETRY_SECONDS)


def stop(client: JobSubmissionClient, job_id: str) -> bool:
    """Stop a job as Ctrl-C stops ``xlt run``.

    Returns:
        Whether the job was running.

    Raises:
        InputError: The cluster has no such job, or the connection was lost.
    """
    _details(client, job_id)
    try:
        return bool(client.stop_job(job_id))
    except (RuntimeError, OSError) as error:
        raise InputError(f"the job server did not stop job {job_id}: {error}") from error


def _details(client: JobSubmissionClient, job_id: str) -> Any:
    """Read the state of a job from the server."""
    try:
        return client.get_job_info(job_id)
    except (RuntimeError, OSError) as error:
        if "status code 404" not in str(error):
            raise InputError(f"the job server cannot report job {job_id}: {error}") from error
        jobs = [job.submission_id for job in client.list_jobs() if job.submission_id]
        known = f"it has {', '.join(jobs)}" if jobs else "it has no jobs"
        raise InputError(f"the cluster has no job {job_id!r}; {known}") from error


def _status(job_id: str, details: Any) -> int:
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        return STOPPED
    code = details.driver_exit_code
    if code is None:
        raise InputError(f"job {job_id} failed: {details.message}")
    return code if code in OWN_STATUSES else FAILED


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Remove these environment variables while the block runs."""
    removed = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= removed
