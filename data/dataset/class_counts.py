"""Numbers of rows of each class: how many are drawn, and what is wrong if they cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from xlt.data.core.errors import InputError
from xlt.data.dataset.patterns import Balance, Pattern, Sampling, Window
from xlt.data.dataset.schema import Dataset, Row


def odd_counts(dataset: Dataset, pattern: Pattern, **counts: int) -> list[str]:
    """Write a sentence for odd counts of a binary task, whose rows are drawn 1:1 as in the paper.

    With more classes, a class may have one row more than another.
    """
    odd = [name for name, count in counts.items() if count % 2]
    if not odd or len(dataset.classes) != 2:
        return []
    return [f"{pattern.name}: {' and '.join(odd)} must be even: rows are drawn 1:1"]


def balanced(num_rows: int, num_classes: int) -> tuple[int, ...]:
    """Divide a number of rows evenly among classes; the last classes get the rows left over."""
    return tuple((num_rows + label) // num_classes for label in range(num_classes))


def count_test_rows(
    sampling: Sampling, candidates: Iterable[Row], classes: Sequence[str]
) -> tuple[int, ...]:
    """Count the test rows of each class that ``sampling.test_balance`` asks for.

    Args:
        sampling: Number and balance of test rows.
        candidates: Rows of the target language in the window of the test.
        classes: Name of each class.

    Raises:
        InputError: Numbers for two classes are given and there are more, or no row of a class
            would be drawn by its natural share.
    """
    balance = sampling.test_balance
    if isinstance(balance, Balance):
        if len(classes) != 2:
            raise InputError(
                f"numbers of two classes are given, and the data have {len(classes)}; use 1:1 or "
                "natural",
                "sampling.test_balance",
            )
        return balance.negative, balance.positive
    if balance == "1:1":
        return balanced(sampling.test_rows, len(classes))
    by_label = Counter({row.key: row.label for row in candidates}.values())
    total = max(by_label.total(), 1)
    # Cumulative shares are rounded, so that the counts add up.
    ends = [
        round(sampling.test_rows * sum(by_label[other] for other in range(label)) / total)
        for label in range(len(classes) + 1)
    ]
    counts = tuple(end - start for start, end in pairwise(ends))
    rare = [f"{name} ({by_label[n]} of {total})" for n, name in enumerate(classes) if not counts[n]]
    if by_label and rare:
        raise InputError(
            f"{sampling.test_rows} test rows in the shares of the data would have no row of "
            f"{', '.join(rare)}; raise sampling.test_rows, or give numbers of rows",
            "sampling.test_balance",
        )
    return counts


def count_available_test_rows(
    sampling: Sampling, candidates: Iterable[Row], classes: Sequence[str]
) -> tuple[int, ...]:
    """Count test rows as :func:`count_test_rows`, but not more than a language has.

    Balanced rows are as many of each class as the rarest class has. Numbers that
    ``sampling.test_balance`` gives stay as they are.
    """
    rows = list(candidates)
    by_label = Counter({row.key: row.label for row in rows}.values())
    most = {
        "1:1": len(classes) * min(by_label[label] for label in range(len(classes))),
        "natural": by_label.total(),
    }
    if isinstance(sampling.test_balance, Balance):
        return count_test_rows(sampling, rows, classes)
    fewer = min(sampling.test_rows, max(len(classes), most[sampling.test_balance]))
    return count_test_rows(sampling.model_copy(update={"test_rows": fewer}), rows, classes)


def shortage(
    what: str, drawn: list[Row], counts: Sequence[int], classes: Sequence[str],
    rows: Iterable[Row], lang: str, window: Window | None, num_test: Mapping[int, int] = {},
) -> list[str]:  # fmt: skip
    """Write a sentence for each class with too few rows.

    Args:
        what: The pattern, and ``test`` or ``dev``, for the sentence.
        drawn: The rows that were drawn.
        counts: Number of rows of each class that were needed.
        classes: Name of each label.
        rows: All rows of the language.
        lang: The language.
        window: The window of the rows.
        num_test: Class -> number of test rows that were drawn before.
    """
    problems = []
    for label, name in reversed(list(enumerate(classes))):
        left = sum(row.label == label for row in drawn)
        needed = counts[label]
        if left == needed:
            continue
        after = f" after the {num_test[label]} of the test" if label in num_test else ""
        dates, remedy = "", "ask for fewer rows or add data"
        if window:
            num_undated = sum(row.published is None for row in rows)
            undated = f" ({num_undated} {lang} rows have no date)" if num_undated else ""
            dates, remedy = f" published {window}{undated}", f"{remedy}, or widen the window"
        problems.append(
            f"{what} needs {needed} {name} {lang} rows{dates}{after}; {left} left; {remedy}"
        )
    return problems
