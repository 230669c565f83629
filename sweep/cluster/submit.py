"""Submit a sweep to a running cluster as a Ray job, whose driver runs on the cluster.

The job carries the resolved experiment, but not the files that the experiment names. So each path
must point to the same files on every node.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import xlt
from xlt.data.core.errors import InputError
from xlt.data.core.locations import refuse_secrets
from xlt.sweep.cluster.job_client import connect, send
from xlt.sweep.driver.scratch import scratch_folder
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.tracking.registry import FOLDER, TRACKERS

FILE = "experiment.yaml"
PATH_KEYS = ("path", "cache_dir")
"""Options of sources, corrections and corpora that hold paths of files."""
STOPPED_BY = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
"""Variables for Ray: stop a job with SIGINT, as Ctrl-C does, and wait a minute for its end."""


def submit_job(
    experiment: Experiment,
    address: str,
    results: str | None = None,
    *,
    only: str = "",
    wait: bool = False,
    installed: bool = False,
) -> str:
    """Submit a sweep as a job of a running Ray cluster, which runs it without this machine.

    Args:
        experiment: The sweep.
        address: URL of the cluster's job server, ``http://HOST:8265``.
        results: Results location, a URI that every node reaches; None: the experiment's own.
        only: Cells to run, e.g. ``model=elyza,pattern=ja16``; empty: all.
        wait: Wait while another driver runs or searches the same experiment.
        installed: Run the xlt that the nodes have installed, instead of sending this one.

    Returns:
        The name of the job, for ``xlt job``.

    Raises:
        InputError: Paths that other nodes do not have, unknown cells, or a server that cannot be
            reached or refuses the job.
    """
    results = results or experiment.storage.results
    experiment.select(only)
    refuse_local(experiment, results)
    client = connect(address)
    job_id = f"xlt-{experiment.name}-{secrets.token_hex(4)}"
    with scratch_folder("submit") as folder:
        (folder / FILE).write_text(experiment.to_yaml(), "utf-8")
        runtime_env: dict[str, Any] = {"working_dir": str(folder), "env_vars": STOPPED_BY}
        if not installed:
            _name_version(folder)
            # Exclude compiled files only: a pattern such as data/ would also exclude code.
            runtime_env |= {
                "py_modules": [str(Path(xlt.__file__).parent)],
                "excludes": ["__pycache__"],
            }
        send(
            client,
            submission_id=job_id,
            entrypoint=make_entrypoint(results, only, wait),
            runtime_env=runtime_env,
            metadata={"experiment": experiment.name, "results": results},
        )
    return job_id


def make_entrypoint(results: str, only: str, wait: bool) -> str:
    """Return the shell command of the job, which runs in the folder of the experiment's file."""
    words = ["exec", "python", "-m", "xlt", "run", FILE, "--results", results]
    words += ["--address", "auto", *(["--only", only] if only else [])]
    return shlex.join([*words, *(["--wait"] if wait else [])])


def refuse_local(experiment: Experiment, results: str) -> None:
    """Refuse paths that point to other files on other nodes.

    Raises:
        InputError: All relative paths, each with a remedy; or a URI that holds a secret.
    """
    refuse_secrets(results)
    problems = []
    if "://" not in results and not Path(results).is_absolute():
        problems.append(
            f"results location {results!r} would lie on one node's own disk; give --results "
            "s3://... or gs://..., or the absolute path of a disk that all nodes share"
        )
    problems += [
        f"{key}: {path!r} is a path of this machine; give a URI (s3://...), or the absolute path "
        "of a disk that all nodes share"
        for key, path in _paths(experiment)
    ]
    if problems:
        raise InputError(problems)


def _paths(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield (key, path) of all paths that other nodes cannot read."""
    for block in ("data", "pretraining"):
        for key, path in _named(getattr(experiment, block).as_given(), block):
            if "://" not in path and not Path(path).is_absolute():
                yield key, path
    folders = {f"models.{m.name}.path": m.path for m in experiment.models if not m.miniature}
    folders["data.dataset"] = str(getattr(experiment.data, "dataset", ""))
    for destination in experiment.tracking.destinations:
        if TRACKERS[destination.name].place == FOLDER and not Path(destination.place).is_absolute():
            yield "tracking.to", str(destination)
    for key, path in folders.items():  # hub ids look like relative paths
        is_folder = bool(path) and Path(path).is_dir() and not Path(path).is_absolute()
        if path.startswith((".", "~")) or is_folder:
            yield key, path


def _named(values: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Yield (key, path) of every path in a block of settings and its nested blocks."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _named(value, f"{where}.{key}")
        elif key in PATH_KEYS and value is not None:
            paths = [value] if isinstance(value, str) else value
            yield from ((f"{where}.{key}", path) for path in paths)


def _name_version(folder: Path) -> None:
    """Write the version of the carried code, which signatures of results read.

    A node may have another version installed.
    """
    try:
        number = version("xlt-sweep")
    except PackageNotFoundError:  # a checkout
        return
    metadata = folder / f"xlt_sweep-{number}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: xlt-sweep\nVersion: {number}\n")
