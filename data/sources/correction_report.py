"""What corrections by hand did to the labels, and how far annotators agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Change(NamedTuple):
    """Labels that were changed in one way."""

    lang: str
    """Language of the rows."""
    before: str
    """Class that was delivered."""
    after: str
    """Class that they have now."""
    num: int
    """How many rows."""


class Agreement(NamedTuple):
    """How far two annotators agree."""

    first: str
    """The one whose name comes first in the alphabet."""
    second: str
    """The other one."""
    num_common: int
    """Rows that both labelled."""
    kappa: float | None
    """Cohen's kappa on them; None for fewer than 2, or if both gave all the same one label."""


@dataclass(frozen=True)
class CorrectionReport:
    """What corrections did.

    Attributes:
        path: Their file.
        num_rows: Rows of the file.
        num_confirmed: Rows of the data set whose label was looked at and stayed.
        num_conflicts: Rows of the data set that annotators labelled in different ways.
        num_unknown: Rows of the file that were skipped because no row has their id.
        changes: How many labels changed, by language and classes.
        agreement: Of every two annotators who are named.
    """

    path: str
    num_rows: int
    num_confirmed: int
    num_conflicts: int
    num_unknown: int
    changes: tuple[Change, ...]
    agreement: tuple[Agreement, ...]

    @property
    def num_corrected(self) -> int:
        """Rows of the data set whose label changed."""
        return sum(change.num for change in self.changes)

    def as_dict(self) -> dict[str, Any]:
        """The fields and ``num_corrected``, in types that JSON has."""
        return {
            **asdict(self),
            "num_corrected": self.num_corrected,
            "changes": [change._asdict() for change in self.changes],
            "agreement": [pair._asdict() for pair in self.agreement],
        }

    def describe(self) -> str:
        """What a person wants to know, a line each."""
        lines = [f"{self.path}: {self.num_corrected} labels corrected, {self.num_confirmed} kept"]
        lines += [f"  {c.lang}: {c.num} from {c.before} to {c.after}" for c in self.changes]
        if self.num_conflicts:
            lines.append(f"  {self.num_conflicts} rows on which annotators differ")
        if self.num_unknown:
            lines.append(f"  {self.num_unknown} rows of the file skipped: no row has their id")
        for pair in self.agreement:
            kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.3f}"
            lines.append(
                f"  {pair.first} and {pair.second}: kappa {kappa} on {pair.num_common} rows"
            )
        return "\n".join(lines)
