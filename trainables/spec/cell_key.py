"""CellKey: the name of a table entry."""

from __future__ import annotations

from typing import NamedTuple, Self

from xlt.data.core.errors import InputError


class CellKey(NamedTuple):
    """Name of a cell: all trials of one base model on one pattern.

    Keys sort by base model, then by pattern. Printed as ``base_model x pattern``.

    Attributes:
        base_model: Table row.
        pattern: Table column.
    """

    base_model: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.base_model} x {self.pattern}"

    @property
    def path(self) -> str:
        """``base_model/pattern``, as commands and files of claims write it."""
        return f"{self.base_model}/{self.pattern}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``base_model/pattern``; the base model may contain slashes.

        Raises:
            InputError: The base model, the slash or the pattern is missing.
        """
        base_model, _, pattern = text.rpartition("/")
        if not (base_model and pattern):
            raise InputError(f"{text!r} is no cell; write base model/pattern, e.g. elyza/ja0")
        return cls(base_model, pattern)
