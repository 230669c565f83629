"""A results location: a root that is ours, of this format version, and can be written."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, to_json
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

MARKER = "xlt-results.json"
"""Lies in the root of every results location; a folder with files but without it is not ours."""


class ResultsRoot(Files):
    """Files under a root that is ours; a write is whole or did not happen."""

    kind = "results location"

    def prepare(self) -> None:
        """Make the root, or check that it is ours and writable.

        Raises:
            InputError: Not writable, full, other files in it, or of another format version.
        """
        try:
            self.check()
            if not self.exists(MARKER):
                self.make_folder()
                self.write(MARKER, to_json({"format": RESULT_FORMAT, "kind": "xlt-sweep results"}))
            probe = f".probe-{uuid.uuid4().hex}"
            self.write(probe, b"x")
            self.fs.delete_file(self.path(probe))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"results location {self.uri!r} cannot be written: {error}; "
                "free space, mend the permissions or give another --results"
            ) from error

    def check(self) -> None:
        """Refuse a root that holds something else or another format version."""
        if self.exists(MARKER):
            found = self.read_json(MARKER).get("format")
            if found != RESULT_FORMAT:
                raise InputError(
                    f"results location {self.uri!r} has format {found}; this version reads and "
                    f"writes format {RESULT_FORMAT}; give another --results"
                )
            return
        info = self.fs.get_file_info(self.root)
        if info.type == pafs.FileType.File:
            raise InputError(f"results location {self.uri!r} is a file; give a folder")
        # Hidden files (a write that was cut off, .DS_Store) and a fresh disk's own folder are no
        # one's results.
        if {*self.names()} - {"lost+found"}:
            raise InputError(
                f"results location {self.uri!r} holds other files and no {MARKER}; "
                "give an empty folder or an earlier results folder"
            )
