"""The Console of all commands: texts stand as they are, and only rich's own styles are styles."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from xlt.data.core.text import plain


class _PlainConsole(Console):
    """A Console that cleans texts; its own control characters, e.g. for colours, stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


def make_console() -> Console:
    """Make a Console on standard error, without markup, emoji codes and highlighted words."""
    stream: Any = sys.stderr
    while hasattr(stream, "rich_proxied_file"):  # a stream of plain_output or of a live display
        stream = stream.rich_proxied_file
    return _PlainConsole(file=stream, highlight=False, markup=False, emoji=False)


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line as it is, on any Console; a long one is not broken."""
    console.print(
        plain(line), style=style, highlight=False, markup=False, emoji=False, soft_wrap=True
    )
