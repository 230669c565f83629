"""Runs in Weights & Biases: a project for each experiment, a group for each cell."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.tracking.problems import (
    ANSWER_SECONDS,
    failed,
    hide_password,
    no_answer,
    wrong_credentials,
)
from xlt.sweep.tracking.runs import TrackedRun

CREDENTIALS = (
    "set WANDB_API_KEY, or log in with `wandb login`; WANDB_MODE=offline writes files instead, "
    "which `wandb sync` sends later"
)
CLOSE_SECONDS = 5.0
"""Time in which W&B's own process must end when this one does, after a request that failed."""
DIGEST = "xlt_digest"
"""Key of the digest among the settings of a run, and name of its file in an offline run."""
ENDED = ("finished", "failed")
"""States of complete runs; the upload of others was interrupted."""
FINISH_SECONDS = 60.0
"""Time in which a run must be uploaded."""
PRIVATE = {
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    "host": "",
    "program": "",
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Settings with which W&B sends nothing of this machine, its programs or its output."""


class WandbRuns:
    """Runs of an experiment in a project of W&B, or in files if WANDB_MODE is ``offline``.

    Args:
        place: Folder of W&B's files; empty: WANDB_DIR, else the one where ``xlt`` is started.
        experiment: Name of the experiment, the project there.

    Raises:
        InputError: W&B does not answer or refuses the credentials.
    """

    def __init__(self, place: str, experiment: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to W&B's makers
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._wandb, self._project = wandb, experiment
        self._folder = Path(place or os.environ.get("WANDB_DIR", ".")).expanduser().absolute()
        self._is_offline = os.environ.get("WANDB_MODE") == "offline"
        server = os.environ.get("WANDB_BASE_URL", "its own server")
        self._where = f"W&B at {hide_password(server)}"
        with self._explained():
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._is_offline:
                self.known = dict(self._read_folders())
            else:
                self.known = self._ask_server()

    def send(self, run: TrackedRun) -> None:
        """Write a run; its id is the trial id, so that W&B replaces an earlier one."""
        with self._explained():
            if self._is_offline:
                for folder in self._offline_folders(run.trial_id):
                    shutil.rmtree(folder)
            settings = self._wandb.Settings(
                **PRIVATE,
                init_timeout=ANSWER_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
                x_start_time=run.started,
            )
            sent = self._wandb.init(
                project=self._project,
                id=run.trial_id,
                name=run.trial_id,
                group=run.cell,
                job_type="trial",
                dir=self._folder,
                mode="offline" if self._is_offline else "online",
                config={**run.params, **run.tags, DIGEST: run.digest},
                reinit="create_new",
                settings=settings,
            )
            for step, values in run.history:
                sent.log(dict(values), step=step)
            sent.summary.update(dict(run.metrics))
            if run.artifacts:
                self._add_files(sent, run)
            folder = Path(sent.dir).parent
            sent.finish(exit_code=0 if run.status == "finished" else 1)
            if self._is_offline:
                (folder / DIGEST).write_text(run.digest, "utf-8")

    def _read_folders(self) -> Iterator[tuple[str, str]]:
        """Trial ids and digests of the runs in files."""
        for folder in self._offline_folders("*"):
            file = folder / DIGEST
            yield folder.name.split("-", 3)[3], file.read_text("utf-8") if file.exists() else ""

    def _offline_folders(self, run_id: str) -> Iterator[Path]:
        """Folders of offline runs: offline-run-<date>_<time>-<id>."""
        return (self._folder / "wandb").glob(f"offline-run-*-{run_id}")

    def _ask_server(self) -> dict[str, str]:
        """Trial id -> digest of the runs that the project has."""
        if not self._wandb.login(prompt=False, verify=True):
            raise wrong_credentials(self._where, CREDENTIALS)
        api = self._wandb.Api(timeout=ANSWER_SECONDS)
        try:
            runs = list(api.runs(self._project, lazy=False))
        except ValueError:  # no such project
            return {}
        return {run.id: run.config.get(DIGEST, "") if run.state in ENDED else "" for run in runs}

    def _add_files(self, sent: Any, run: TrackedRun) -> None:
        artifact = self._wandb.Artifact(f"trial-{run.trial_id}"[:128], type="trial")
        for name, content in run.artifacts.items():
            with artifact.new_file(name, mode="wb") as stream:
                stream.write(content)
        sent.log_artifact(artifact)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of W&B into an InputError, and end its process with this one after any."""
        try:
            yield
        except Exception as error:
            atexit.unregister(_end_service)
            atexit.register(_end_service)  # before W&B's own hook, which waits without limit
            if isinstance(error, InputError):
                raise
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> InputError:
        """Make the InputError for an error of W&B, some of which have no class in common."""
        from wandb.errors import AuthenticationError, CommError

        if isinstance(error, AuthenticationError):
            if "respond" in str(error) or "error occurred" in str(error):
                return no_answer(self._where)
            return wrong_credentials(self._where, CREDENTIALS)
        if isinstance(error, CommError | TimeoutError):
            return no_answer(self._where)
        return failed(self._where, error)


def _end_service() -> None:
    """End W&B's process, which may wait on and on for an answer to a request that was given up."""
    import psutil
    import wandb

    if wandb.run:  # a run of another part of this program, for which W&B waits
        return
    closing = Thread(target=wandb.teardown, daemon=True)
    closing.start()
    closing.join(CLOSE_SECONDS)
    if closing.is_alive():
        for child in psutil.Process().children():
            if child.name() == "wandb-core":
                child.kill()
