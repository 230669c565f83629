"""The check ``dates``: windows that overlap or are empty, and rows whose date does not fit."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.patterns import Window
from xlt.data.dataset.schema import Dataset

UNDATED_SHARE = 0.1
"""Share of a language's rows without a date above which the rows are a warning."""


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Compare publication dates with the windows of an experiment, if it has any.

    Errors are windows that overlap, a window without any row, and drawn rows outside their window.
    More than :data:`UNDATED_SHARE` undated rows of a language are a warning, fewer an info. A
    language without a row in a window is an info.
    """
    train, test = used_rows.train_window, used_rows.test_window
    windows = [(name, w) for name, w in (("training", train), ("test", test)) if w]
    if not windows:
        return []
    findings = []
    if train and test and train.start <= test.end and test.start <= train.end:
        both = Window(start=max(train.start, test.start), end=min(train.end, test.end))
        findings.append(
            Finding(
                "dates",
                "error",
                f"the training window {train} overlaps the test window {test}",
                "end one window before the other starts",
                count=sum(
                    both.holds(row.published) for rows in dataset.by_lang.values() for row in rows
                ),
            )
        )
    for name, window in windows:
        held = {
            lang: sum(window.holds(r.published) for r in rows)
            for lang, rows in dataset.by_lang.items()
        }
        empty = [lang for lang, num in held.items() if not num]
        if empty:
            whose = "row at all" if len(empty) == len(held) else f"row of {', '.join(empty)}"
            findings.append(
                Finding(
                    "dates",
                    "error" if len(empty) == len(held) else "info",
                    f"the {name} window {window} holds no {whose}; "
                    f"their dates are {_span(dataset, empty)}",
                    f"move the window, unless no {name} rows of these languages are wanted",
                    count=sum(len(dataset.by_lang[lang]) for lang in empty),
                )
            )
    findings += _strays(dataset, used_rows)
    findings += _undated(dataset)
    return findings


def _strays(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Report drawn rows outside the window of their role."""
    roles = (("trained", used_rows.train_window), ("tested", used_rows.test_window))
    stray = [
        row
        for rows in (dataset.by_lang.values() if used_rows.draws else ())
        for row in rows
        if any(
            w and row.id in getattr(used_rows, role) and not w.holds(row.published)
            for role, w in roles
        )
    ]
    if not stray:
        return []
    return [
        Finding(
            "dates",
            "error",
            f"{len(stray)} drawn rows were not published in their window",
            "leave these rows out, or widen the window",
            count=len(stray),
            examples=example_rows(dataset, (row.id for row in stray)),
        )
    ]


def _undated(dataset: Dataset) -> list[Finding]:
    """Report rows without a date."""
    findings = []
    for lang, rows in dataset.by_lang.items():
        undated = [row for row in rows if row.published is None]
        if undated:
            findings.append(
                Finding(
                    "dates",
                    "warning" if len(undated) > UNDATED_SHARE * len(rows) else "info",
                    f"{len(undated)} of {len(rows)} {lang} rows have no date and lie in no window",
                    "give the rows dates, or use no windows",
                    count=len(undated),
                    examples=example_rows(dataset, (row.id for row in undated)),
                )
            )
    return findings


def _span(dataset: Dataset, langs: Iterable[str]) -> str:
    """Format the first and last date of languages for a message."""
    days = [row.published for lang in langs for row in dataset.by_lang[lang] if row.published]
    return f"{min(days)}..{max(days)}" if days else "all missing"
