"""The report on corrected labels: the changes, and the agreement of annotators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Change(NamedTuple):
    """The number of rows whose label was changed from one class to another."""

    lang: str
    """Language of the rows."""
    before: str
    """Class before the correction."""
    after: str
    """Class after the correction."""
    num: int
    """Number of rows."""


class Agreement(NamedTuple):
    """The agreement of two annotators."""

    first: str
    """Name of the first annotator in the alphabet."""
    second: str
    """Name of the other annotator."""
    num_common: int
    """Number of rows that both labelled."""
    kappa: float | None
    """Cohen's kappa on these rows; None for fewer than 2 rows, or if all labels are the same."""


@dataclass(frozen=True)
class CorrectionReport:
    """The changes by a file of corrected labels.

    Attributes:
        path: Path of the file.
        num_rows: Number of rows in the file.
        num_confirmed: Number of rows of the data set whose label was confirmed.
        num_conflicts: Number of rows of the data set to which annotators gave different labels.
        num_unknown: Number of rows in the file that were skipped, because their id is unknown.
        changes: Number of changed labels, by language and classes.
        agreement: Agreement of each pair of named annotators.
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
        """Number of rows of the data set whose label changed."""
        return sum(change.num for change in self.changes)

    def as_dict(self) -> dict[str, Any]:
        """Convert the fields and ``num_corrected`` to types of JSON."""
        return {
            **asdict(self),
            "num_corrected": self.num_corrected,
            "changes": [change._asdict() for change in self.changes],
            "agreement": [pair._asdict() for pair in self.agreement],
        }

    def describe(self) -> str:
        """Format the report as lines of text."""
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


def compare_annotators(
    first: str, second: str, given: Mapping[str, Mapping[str, int]]
) -> Agreement:
    """Compute Cohen's kappa of two annotators, on the rows that both labelled.

    Args:
        first: Name of an annotator.
        second: Name of another annotator.
        given: Annotator -> id of a row -> label.
    """
    common = [row_id for row_id in given[first] if row_id in given[second]]
    labels = [[given[annotator][row_id] for row_id in common] for annotator in (first, second)]
    kappa = None
    if len(common) > 1 and len({*labels[0], *labels[1]}) > 1:  # else the agreement by chance is 1
        from sklearn.metrics import cohen_kappa_score  # slow to import

        kappa = float(cohen_kappa_score(*labels))
    return Agreement(first, second, len(common), kappa)
