"""The check ``balance``: the number of rows of each class in each language."""

from __future__ import annotations

from collections import Counter

from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset

RARE_SHARE = 0.1
"""Part of an even share below which a class is rare: 5% of the rows if there are two classes."""


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Count the rows of each class in each language.

    A missing class is an error if cells draw from the language, else a warning. A rare class
    (:data:`RARE_SHARE`) is a warning, because draws are even and soon use up its rows. The counts
    are an info.
    """
    findings = []
    rare = RARE_SHARE / len(dataset.classes)
    for lang, rows in dataset.by_lang.items():
        counts = Counter(row.label for row in rows)
        named = [(name, counts[label]) for label, name in enumerate(dataset.classes)]
        absent = [name for name, count in named if not count]
        scarce = [f"{name} ({n} rows)" for name, n in named if 0 < n < rare * len(rows)]
        findings.append(
            Finding(
                "balance",
                "info",
                f"{lang}: " + ", ".join(f"{count} {name}" for name, count in named),
                "nothing needs to be done",
                count=len(rows),
            )
        )
        if absent:
            drawn = bool(used_rows.draws) and any(used_rows.uses(row.id) for row in rows)
            findings.append(
                Finding(
                    "balance",
                    "error" if drawn else "warning",
                    f"no {lang} row is {' or '.join(absent)}"
                    + (", and cells draw from this language" if drawn else ""),
                    "add rows of every class, or leave the language out of the patterns",
                    count=len(rows),
                )
            )
        if scarce:
            findings.append(
                Finding(
                    "balance",
                    "warning",
                    f"fewer than {rare:.2%} of the {lang} rows are {', '.join(scarce)}",
                    "add rows of this class, or know that scores on even draws say little about "
                    "data of this balance",
                    count=sum(n for _, n in named if 0 < n < rare * len(rows)),
                )
            )
    return findings
