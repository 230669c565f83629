"""Output of every command: no text of a file moves the cursor, recolours or reorders a terminal.

Names, texts and errors come from files of other people. All that ``print``, argparse and logs write
passes one place, so no command can forget to clean it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from xlt.data.core.text import plain


class PlainStream:
    r"""A text stream that shows control characters as escapes, such as ``\x1b``.

    Attributes:
        rich_proxied_file: The stream that gets the texts, by the name that rich has for it. All
            other attributes are those of this stream.
    """

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text; a character that the stream cannot encode is shown as an escape, too."""
        shown = plain(text)
        with self._naming_itself():
            try:
                self.rich_proxied_file.write(shown)
            except UnicodeEncodeError as error:
                known = shown.encode(error.encoding, "backslashreplace").decode(error.encoding)
                self.rich_proxied_file.write(known)
        return len(text)

    def flush(self) -> None:
        """Write what the stream has buffered."""
        with self._naming_itself():
            self.rich_proxied_file.flush()

    @contextmanager
    def _naming_itself(self) -> Iterator[None]:
        """Name the stream in its errors, e.g. for a full disk."""
        try:
            yield
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self.rich_proxied_file.name) from error

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Give an attribute of the stream, such as ``isatty``."""
        return getattr(self.rich_proxied_file, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Write standard output and standard error through a :class:`PlainStream` in the block."""
    before = sys.stdout, sys.stderr
    # A stream that the caller closed is None, and print() writes nothing to it.
    streams: Any = [stream and PlainStream(stream) for stream in before]
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
