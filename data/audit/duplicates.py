"""The check ``duplicates``: equal texts in train and test, in two languages or with two labels."""

from __future__ import annotations

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.equal_texts import EqualTexts
from xlt.data.dataset.schema import Dataset, Row

Group = list[tuple[str, Row]]
"""(language, row) of the rows with one text, at least two."""


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Find rows of equal text by :func:`text_key`.

    A text or row that one cell trains on and tests on is an error. A text in two languages is a
    warning, because its source row is never drawn, and often has the wrong language. A text with
    two labels is a warning. A text that a language has twice is an info, because no text is drawn
    twice.
    """
    texts = EqualTexts(dataset)
    groups = [texts.with_lang(text) for text in texts.repeated()]
    rows_twice = {i for i, mask in used_rows.trained.items() if mask & used_rows.tested.get(i, 0)}
    crossing = [g for g in groups if used_rows.crosses(_ids(g), _ids(g))]
    grouped = {row_id for group in crossing for row_id in _ids(group)}
    alone = [
        [(lang, row)]
        for lang, rows in (dataset.by_lang.items() if rows_twice - grouped else ())
        for row in rows
        if row.id in rows_twice - grouped
    ]
    langs = [g for g in groups if len({lang for lang, _ in g}) > 1]
    labels = [g for g in groups if len({row.label for _, row in g}) > 1]
    repeated = sum(len(g) - len({lang for lang, _ in g}) for g in groups)
    findings = []
    if crossing or alone:
        used = [
            [(lang, row) for lang, row in group if used_rows.uses(row.id)]
            for group in crossing + alone
        ]
        findings.append(
            Finding(
                "duplicates",
                "error",
                f"{len(used)} texts are both trained on and tested on in the same cell",
                "leave one of them out; draws made by xlt keep equal texts apart",
                count=sum(map(len, used)),
                examples=_shown(dataset, used),
            )
        )
    if langs:
        findings.append(
            Finding(
                "duplicates",
                "warning",
                f"{len(langs)} texts stand in more than one language; "
                "no source row whose text is a target row's is drawn",
                "correct the language of these rows or remove them",
                count=sum(map(len, langs)),
                examples=_shown(dataset, langs),
            )
        )
    if labels:
        findings.append(
            Finding(
                "duplicates",
                "warning",
                f"{len(labels)} texts have more than one label",
                "decide on one label for each text, or remove these rows",
                count=sum(map(len, labels)),
                examples=_shown(dataset, labels),
            )
        )
    if repeated:
        inside = [g for g in groups if len({lang for lang, _ in g}) < len(g)]
        findings.append(
            Finding(
                "duplicates",
                "info",
                f"{repeated} rows repeat the text of an earlier row of their language; "
                "a text is drawn once",
                "nothing needs to be done; count texts and not rows when asking for more",
                count=repeated,
                examples=_shown(dataset, inside),
            )
        )
    return findings


def _ids(group: Group) -> list[str]:
    return [row.id for _, row in group]


def _shown(dataset: Dataset, groups: list[Group]) -> tuple[str, ...]:
    return example_rows(dataset, (row_id for group in groups for row_id in _ids(group)))
