"""Selections of cells, written as e.g. ``model=elyza,pattern=ja16``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xlt.data.core.errors import InputError, unknown
from xlt.data.dataset.patterns import spell_pattern_name
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Selection:
    """A set of cells, given by names.

    Attributes:
        models: Names of base models; empty: all.
        patterns: Names of patterns; empty: all.
        cells: Single cells; empty: all.
    """

    models: frozenset[str] = field(default=frozenset())
    patterns: frozenset[str] = field(default=frozenset())
    cells: frozenset[CellKey] = field(default=frozenset())

    def has(self, cell: CellKey) -> bool:
        """Whether a cell is selected."""
        return (
            (not self.models or cell.base_model in self.models)
            and (not self.patterns or cell.pattern in self.patterns)
            and (not self.cells or cell in self.cells)
        )


EVERY_CELL = Selection()


def parse_selection(text: str, models: Iterable[str], patterns: Iterable[str]) -> Selection:
    """Parse ``model=a,model=b,pattern=c``: the cells of any of these models and patterns.

    Args:
        text: The selection; empty selects all cells.
        models: Names of the existing base models.
        patterns: Names of the existing patterns.

    Raises:
        InputError: A key or a name is unknown. One error lists all problems.
    """
    known = {"model": set(models), "pattern": set(patterns)}
    wanted: dict[str, set[str]] = {"model": set(), "pattern": set()}
    problems = []
    for part in filter(None, text.split(",")):
        key, equals, name = part.partition("=")
        name = spell_pattern_name(name) if key == "pattern" else name
        if key not in known or not equals:
            problems.append(f"{part!r} is neither model=NAME nor pattern=NAME")
        elif name not in known[key]:
            problems.append(unknown(key, name, known[key]))
        else:
            wanted[key].add(name)
    if problems:
        raise InputError(problems, "--only")
    return Selection(frozenset(wanted["model"]), frozenset(wanted["pattern"]))
