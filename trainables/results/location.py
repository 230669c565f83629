"""The root of a results location: created, checked for its marker and tested for writing."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, to_json
from xlt.trainables.results.layout import FOLDERS, MARKER, TRIALS
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

Arguments = ParamSpec("Arguments")
Root = TypeVar("Root", bound="ResultsRoot")
Value = TypeVar("Value")


class LostLocationError(OSError):
    """A root that was a results location when the command began, and is none at the moment.

    It may return, so :func:`xlt.data.core.retry.retry` waits for it.
    """


def inside_root(
    function: Callable[Concatenate[Root, Arguments], Value],
) -> Callable[Concatenate[Root, Arguments], Value]:
    """Let a function change files only while the root is a results location.

    A folder that was moved or unmounted leaves nothing, or the folder below its mount point. A
    file that is written there is lost for the results, and an unfinished checkpoint seems absent.

    Args:
        function: A function of a :class:`ResultsRoot` and other arguments.

    Returns:
        A function that raises LostLocationError before it changes anything, and for a file or
        folder that is missing because the root was lost meanwhile.
    """

    @functools.wraps(function)
    def guarded(root: Root, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        root.require()
        try:
            return function(root, *args, **kwargs)
        except FileNotFoundError:
            root.require()
            raise

    return guarded


class ResultsRoot(Files):
    """Files below a root that is marked as a results location; each write is atomic.

    A copy in another process, made by pickle, accepts the same location only.
    """

    kind = "results location"
    _seen: tuple[tuple[int, int | None], Any] | None = None
    """Size and time of the marker, and the id in it, when they were first needed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the URI and what identifies the location; no credentials travel."""
        return type(self), (self.uri,), {"_seen": self._seen}

    def prepare(self) -> None:
        """Create the root, or check that it is a results location and can be written.

        Raises:
            InputError: The root cannot be written, is full, holds other files, or has another
                format version.
        """
        try:
            self.check()
            if not self.exists(MARKER):
                super().make_folder()
                self.write_marker()
            probe = f".probe-{uuid.uuid4().hex}"
            self.write(probe, b"x")
            self.fs.delete_file(self.path(probe))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"results location {self.uri!r} cannot be written: {error}; "
                "free space, fix the permissions or give another --results"
            ) from error

    def write_marker(self) -> None:
        """Mark the root as a results location, with an id that no other one has."""
        fields = {"format": RESULT_FORMAT, "kind": "xlt-sweep results", "id": uuid.uuid4().hex}
        if self.create(MARKER, to_json(fields)) is None:
            self.write(MARKER, to_json(fields))

    def make_folder(self, *parts: str) -> None:
        """Create a folder inside the root, which must exist; do nothing in an object store."""
        if self.is_object_store:
            return
        names = "/".join(parts).split("/")
        for depth in range(len(names)):
            self.fs.create_dir(self.path(*names[: depth + 1]), recursive=False)

    def check(self) -> None:
        """Refuse a root that holds other files, has another format version, or links in it.

        Raises:
            InputError: See above, or the root is a file.
        """
        if link := self.find_link():
            raise InputError(
                f"{link} in results location {self.uri!r} is a symbolic link, and no file outside "
                "of a results location is changed; move the folder to the place of the link, or "
                "give the location that it is a part of as --results"
            )
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
        if names := self.list_content():
            raise InputError(
                f"results location {self.uri!r} holds other files and no {MARKER}; "
                "give an empty folder or an earlier results folder"
                + ("; `xlt run ... --adopt` verifies its trials and uses it" * (TRIALS in names))
            )

    def list_content(self) -> set[str]:
        """Names of files and folders in the root that somebody made.

        Hidden files (an interrupted write, .DS_Store) and the lost+found of a new disk are left
        out.
        """
        return {*self.names()} - {"lost+found"}

    def require(self) -> None:
        """Check that the root is still the same results location.

        This is one request. The marker is read if its size or time is another one than before.
        Markers of earlier versions have no id.

        Raises:
            LostLocationError: The root is gone, is another folder or location, or has links in it.
        """
        if link := self.find_link():
            raise LostLocationError(f"{self.path(link)} is a symbolic link now")
        marker = self.fs.get_file_info(self.path(MARKER))
        if marker.type != pafs.FileType.File:
            info = self.fs.get_file_info(self.root)
            is_gone = info.type == pafs.FileType.NotFound
            what = "is gone" if is_gone else f"is another folder now, without {MARKER}"
            raise LostLocationError(f"{self.root} {what} (was it moved, deleted or unmounted?)")
        stamp = marker.size, marker.mtime_ns
        if self._seen and self._seen[0] == stamp:
            return
        location_id = self.read_json(MARKER).get("id")
        if self._seen and self._seen[1] != location_id:
            raise LostLocationError(
                f"{self.root} is another results location now, with another id in {MARKER} (was "
                "something mounted or moved there?)"
            )
        self._seen = stamp, location_id

    def find_link(self) -> str:
        """Name of a folder directly inside the root that is a symbolic link, or empty.

        The root itself may be a link. Files that a link inside points to belong to somebody else.
        """
        if not isinstance(self.fs, pafs.LocalFileSystem):
            return ""
        return next((name for name in FOLDERS if os.path.islink(self.path(name))), "")
