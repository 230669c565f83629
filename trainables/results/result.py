"""Results locations: trial folders are written, verified, read and set aside here.

``trial.json`` is written last, so that a folder with it is complete.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.files import remove_partial, to_json, to_parquet
from xlt.data.tables.parquet import read_parquet
from xlt.trainables.results.experiment_files import ExperimentFiles
from xlt.trainables.results.layout import (
    CHECKPOINTS,
    FAILURE,
    MODEL,
    RECORD,
    SET_ASIDE,
    TRIALS,
    TrialTable,
    checkpoint_file,
    model_name,
    table_name,
    trial_file,
    trial_folder,
)
from xlt.trainables.results.location import inside_root
from xlt.trainables.results.trial_result import (
    TrialResult,
    TrialState,
    build_done_record,
    build_failure_record,
    refuse_other_types,
    verify_record,
)
from xlt.trainables.spec.trial_spec import TrialSpec

FEWEST_LISTED = 16
"""Smallest number of trials whose files are listed together in an object store, where one request
lists a thousand files."""


class Results(ExperimentFiles):
    """A results location; other modules ask it for the paths inside.

    Args:
        uri: A local path or a pyarrow.fs URI.
    """

    # --- trial folders ------------------------------------------------------------------------

    def trial_ids(self) -> list[str]:
        """Ids of all trial folders, sorted."""
        selector = pafs.FileSelector(self.path(TRIALS), allow_not_found=True)
        infos = self.fs.get_file_info(selector)
        return sorted(i.base_name for i in infos if i.type == pafs.FileType.Directory)

    def trial_path(self, trial_id: str) -> str:
        """Path of a trial's folder, in the form of its file system."""
        return self.path(trial_folder(trial_id))

    def record_path(self, trial_id: str) -> str:
        """Path of the record of a done trial, in the form of its file system."""
        return self.path(trial_file(trial_id, RECORD))

    @inside_root
    def save(self, result: TrialResult) -> dict[str, Any]:
        """Write a trial's folder, the record last; return the record."""
        trial_id = result.spec.trial_id
        folder = trial_folder(trial_id)
        files = {
            table_name("predictions"): to_parquet(result.predictions),
            table_name("history"): to_parquet(result.history),
            table_name("train_rows"): to_parquet(result.train_rows),
            **{model_name(name): content for name, content in result.model.items()},
        }
        self._make_trial_folder(trial_id)
        if result.model:
            self.make_folder(folder, MODEL)
        for name, content in files.items():
            self.write(trial_file(trial_id, name), content)
        record = build_done_record(result, files)
        self.write(trial_file(trial_id, RECORD), to_json(record))
        if self.exists(folder, FAILURE):
            self.fs.delete_file(self.path(folder, FAILURE))
        return record

    @inside_root
    def save_failure(self, spec: TrialSpec, error: str, traceback: str) -> None:
        """Record why a trial failed; the next run tries the trial again."""
        self._make_trial_folder(spec.trial_id)
        record = build_failure_record(spec, error, traceback)
        self.write(trial_file(spec.trial_id, FAILURE), to_json(record))

    def _make_trial_folder(self, trial_id: str) -> None:
        """Create a trial's folder; one with links is set aside, so that no other file changes."""
        if self._find_link(trial_id):
            self.set_aside(trial_id)
        self.make_folder(trial_folder(trial_id))

    def state(self, trial_id: str) -> TrialState:
        """Read and verify the folder of a trial.

        Raises:
            InputError: The location cannot be read, so that the trial's state is unknown.
        """
        return self._state(trial_id, None)

    def states(self, trial_ids: Iterable[str]) -> dict[str, TrialState]:
        """Read and verify the folders of many trials, as :meth:`state` does for one."""
        ids = list(trial_ids)
        if not self.is_object_store or len(ids) < FEWEST_LISTED:
            return dict(zip(ids, self.map_items(self.state, ids), strict=True))
        listed: dict[str, dict[str, int]] = {trial_id: {} for trial_id in ids}
        try:
            for path, size in self.sizes(TRIALS).items():
                listed.get(path.partition("/")[0], {})[path.partition("/")[2]] = size
        except OSError as error:
            raise self._unreadable(TRIALS, error) from error
        states = self.map_items(lambda trial_id: self._state(trial_id, listed[trial_id]), ids)
        return dict(zip(ids, states, strict=True))

    def _state(self, trial_id: str, sizes: dict[str, int] | None) -> TrialState:
        """State of a folder whose files have these sizes; None if they are not listed yet."""
        folder = trial_folder(trial_id)
        try:
            if link := self._find_link(trial_id):
                return TrialState("corrupt", f"{link} is a symbolic link")
            sizes = self.sizes(folder) if sizes is None else sizes
            if RECORD in sizes:
                record = self.read_json(folder, RECORD)
                spec = verify_record(trial_id, record, sizes, partial(self.read, folder))
                return TrialState("done", record=record | {"spec": spec.model_dump(mode="json")})
            if FAILURE in sizes:
                record = self.read_json(folder, FAILURE)
                return TrialState("failed", str(record.get("error")), record)
        except OSError as error:
            raise self._unreadable(folder, error) from error
        except InputError as error:
            return TrialState("corrupt", str(error))
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            return TrialState("corrupt", f"the record has another structure: {error!r}")
        if sizes:
            return TrialState("corrupt", f"half-written: {sorted(sizes)} without {RECORD}")
        return TrialState("absent")

    def _find_link(self, trial_id: str) -> str:
        """Path of a symbolic link in a trial's folder, or of the folder if it is one, else empty.

        A file that a link points to belongs to somebody else.
        """
        if not isinstance(self.fs, pafs.LocalFileSystem):
            return ""
        folder = self.trial_path(trial_id)
        inside = (
            os.path.join(top, name)
            for top, folders, files in os.walk(folder)
            for name in (*folders, *files)
        )
        return next(filter(os.path.islink, chain([folder], inside)), "")

    def _unreadable(self, folder: str, error: OSError) -> InputError:
        problem = f"{self.path(folder)} cannot be read: {error}"
        return InputError(f"{problem}; fix the access and start again")

    # --- files of a trial ---------------------------------------------------------------------

    def read_spec(self, trial_id: str) -> TrialSpec:
        """Read the spec of a done trial, without verifying its files."""
        return TrialSpec.parse(self.read_json(trial_file(trial_id, RECORD))["spec"])

    def read_table(
        self,
        trial_id: str,
        table: TrialTable,
        columns: Sequence[str] | None = None,
        sha256: str | None = None,
    ) -> pa.Table:
        """Read a table of a done trial.

        Args:
            trial_id: The trial.
            table: The table.
            columns: Columns to read; missing ones are ignored. None reads all.
            sha256: SHA-256 of the verified file. None accepts any content.

        Raises:
            InputError: The file has another SHA-256, too many values or columns of other types.
            OSError, pa.ArrowException: The file cannot be read.
        """
        name = table_name(table)
        content = self.read(trial_file(trial_id, name))
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise InputError(f"{name} was changed while it was read; start again")
        try:
            rows = read_parquet(content, columns)
            refuse_other_types(rows)
        except InputError as error:
            raise InputError(f"{name} {error}") from error
        return rows

    def read_weights(self, trial_id: str, name: str, sha256: str) -> bytes:
        """Read a weights file of a done trial.

        Args:
            trial_id: The trial.
            name: File name, as in :func:`list_kept_weights`.
            sha256: SHA-256 of the file in the trial's record.

        Raises:
            InputError: The file has another SHA-256.
        """
        content = self.read(trial_file(trial_id, name))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise InputError(f"{name} was changed after it was written; train the trial again")
        return content

    @inside_root
    def set_aside(self, trial_id: str) -> str:
        """Move a damaged trial folder to ``set-aside/``; return its new name.

        Links move as links; the files that they point to stay where they are.
        """
        folder = trial_folder(trial_id)
        new_folder = f"{SET_ASIDE}/{trial_id}-{uuid.uuid4().hex[:8]}"
        if not self.is_object_store:
            self.make_folder(SET_ASIDE)
            self.fs.move(self.path(folder), self.path(new_folder))
            return new_folder
        for name in self.sizes(folder):
            self.fs.move(self.path(folder, name), self.path(new_folder, name))
        self.fs.delete_dir(self.path(folder))
        return new_folder

    @inside_root
    def remove_leftovers(self, trial_id: str) -> None:
        """Remove the temporary files of a killed attempt.

        Complete files stay until the next attempt replaces them, because a process that was taken
        for dead may still finish the folder.
        """
        if isinstance(self.fs, pafs.LocalFileSystem) and not self._find_link(trial_id):
            remove_partial(Path(self.trial_path(trial_id)))

    # --- checkpoints of unfinished trials -------------------------------------------------------

    @inside_root
    def save_checkpoint(self, trial_id: str, content: bytes) -> None:
        """Write the state of a running trial; it replaces the previous one."""
        self.make_folder(CHECKPOINTS)
        self.write(checkpoint_file(trial_id), content)

    @inside_root
    def read_checkpoint(self, trial_id: str) -> bytes | None:
        """Read the last state of a trial; None if there is none."""
        file = checkpoint_file(trial_id)
        return self.read(file) if self.exists(file) else None

    @inside_root
    def remove_checkpoint(self, trial_id: str) -> None:
        """Remove the state of a trial, if there is one."""
        file = checkpoint_file(trial_id)
        if self.exists(file):
            self.fs.delete_file(self.path(file))
        if isinstance(self.fs, pafs.LocalFileSystem):
            whole = Path(self.path(file))
            for partial_file in whole.parent.glob(f".{whole.name}.*.partial"):  # of killed writers
                partial_file.unlink(missing_ok=True)
