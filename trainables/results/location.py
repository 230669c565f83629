"""The root of a results location: created, checked for its marker and tested for writing."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, to_json
from xlt.trainables.results.layout import MARKER
from xlt.trainables.spec.trial_spec import RESULT_FORMAT


class ResultsRoot(Files):
    """Files below a root that is marked as a results location; each write is atomic."""

    kind = "results location"

    def prepare(self) -> None:
        """Create the root, or check that it is a results location and can be written.

        Raises:
            InputError: The root cannot be written, is full, holds other files, or has another
                format version.
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
                "free space, fix the permissions or give another --results"
            ) from error

    def check(self) -> None:
        """Refuse a root that holds other files or has another format version.

        Raises:
            InputError: See above, or the root is a file.
        """
        if self.exists(MARKER):
            version = self.read_json(MARKER).get("format")
            if version != RESULT_FORMAT:
                raise InputError(
                    f"results location {self.uri!r} has format {version}; this version reads and "
                    f"writes format {RESULT_FORMAT}; give another --results"
                )
            return
        info = self.fs.get_file_info(self.root)
        if info.type == pafs.FileType.File:
            raise InputError(f"results location {self.uri!r} is a file; give a folder")
        # Hidden files (an interrupted write, .DS_Store) and the lost+found of a new disk are not
        # results of anybody.
        if {*self.names()} - {"lost+found"}:
            raise InputError(
                f"results location {self.uri!r} holds other files and no {MARKER}; "
                "give an empty folder or an earlier results folder"
            )
