"""The rows that the cells of an experiment train and test on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from xlt.data.dataset.draws import Draw
from xlt.data.dataset.patterns import Window
from xlt.data.dataset.translations import Direction


@dataclass(frozen=True)
class UsedRows:
    """The rows that the cells of an experiment use.

    Attributes:
        draws: The draw of each cell, without repetitions; empty: the used rows are not known.
        train_window: Publication dates of training rows; None: any.
        test_window: Publication dates of test rows; None: any.
        read: Directions whose translations the cells read.
    """

    draws: tuple[Draw, ...] = ()
    train_window: Window | None = None
    test_window: Window | None = None
    read: tuple[Direction, ...] = ()

    @cached_property
    def trained(self) -> dict[str, int]:
        """Id -> the draws that train on the row, as a bit mask."""
        return _masks(draw.train for draw in self.draws)

    @cached_property
    def tested(self) -> dict[str, int]:
        """Id -> the draws that test on the row, as a bit mask."""
        return _masks(draw.test for draw in self.draws)

    def uses(self, row_id: str) -> bool:
        """Whether a cell trains or tests on the row; always true if the draws are not known."""
        return not self.draws or row_id in self.trained or row_id in self.tested

    def list_read(self, known: Iterable[Direction]) -> list[Direction]:
        """List the directions that the cells read; all ``known`` if the draws are not known."""
        return [direction for direction in known if not self.draws or direction in self.read]

    def crosses(self, ids: Iterable[str], others: Iterable[str]) -> bool:
        """Whether one cell trains on a row of one side and tests on a row of the other side.

        Different cells may use a row in different roles; that is no problem.
        """
        ids, others = list(ids), list(others)
        trained, tested = self.trained, self.tested
        return bool(
            (_any(trained, ids) & _any(tested, others))
            | (_any(tested, ids) & _any(trained, others))
        )


def _masks(drawn: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Id -> a bit mask of the draws that contain it."""
    masks: dict[str, int] = {}
    for number, ids in enumerate(drawn):
        for row_id in ids:
            masks[row_id] = masks.get(row_id, 0) | 1 << number
    return masks


def _any(masks: dict[str, int], ids: list[str]) -> int:
    """Join the bit masks of several ids."""
    mask = 0
    for row_id in ids:
        mask |= masks.get(row_id, 0)
    return mask
