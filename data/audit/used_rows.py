"""The rows that the cells of an experiment train and test on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from xlt.data.dataset.draws import Draw
from xlt.data.dataset.patterns import Window


@dataclass(frozen=True)
class UsedRows:
    """Which rows the cells of an experiment use; empty: not known.

    Attributes:
        draws: One a cell; equal ones may be left out.
        train_window: Publication dates of training rows; none: any.
        test_window: Publication dates of test rows; none: any.
    """

    draws: tuple[Draw, ...] = ()
    train_window: Window | None = None
    test_window: Window | None = None

    @cached_property
    def trained(self) -> dict[str, int]:
        """Id -> the draws that train on the row, as a bit mask."""
        return _masks(draw.train for draw in self.draws)

    @cached_property
    def tested(self) -> dict[str, int]:
        """Id -> the draws that test on the row, as a bit mask."""
        return _masks(draw.test for draw in self.draws)

    def uses(self, row_id: str) -> bool:
        """Whether a cell trains or tests on the row; every row, if that is not known."""
        return not self.draws or row_id in self.trained or row_id in self.tested

    def crosses(self, ids: Iterable[str], others: Iterable[str]) -> bool:
        """Whether some cell trains on a row of one side and tests on one of the other.

        Different cells may use the same row in different roles; only within one it is a fault.
        """
        ids, others = list(ids), list(others)
        trained, tested = self.trained, self.tested
        return bool(
            (_any(trained, ids) & _any(tested, others))
            | (_any(tested, ids) & _any(trained, others))
        )


def _masks(drawn: Iterable[tuple[str, ...]]) -> dict[str, int]:
    masks: dict[str, int] = {}
    for number, ids in enumerate(drawn):
        for row_id in ids:
            masks[row_id] = masks.get(row_id, 0) | 1 << number
    return masks


def _any(masks: dict[str, int], ids: list[str]) -> int:
    mask = 0
    for row_id in ids:
        mask |= masks.get(row_id, 0)
    return mask
