"""The check ``translations``: planted faults are found, and correct translations pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pyarrow as pa
import pytest

from xlt.data.audit.registry import audit
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.draws import Draw
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction, Translations
from xlt.data.sources.registry import load_dataset, parse_source

pytestmark = pytest.mark.slow

EN_JA = Direction("en", "ja")
CORRECT = load_dataset(parse_source({"source": "synthetic", "num_source": 300, "num_target": 300}))
ENGLISH = [row.id for row in CORRECT.by_lang["en"]]
TEXTS = dict(zip(CORRECT.table["id"].to_pylist(), CORRECT.table["text"].to_pylist(), strict=True))


def change(texts: dict[str, str]) -> Dataset:
    """Replace the translations of rows."""
    table = CORRECT.translations.table
    rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    column = pa.array([texts.get(row_id, text) for row_id, text in rows], pa.string())
    changed = table.set_column(3, table.schema.field("text"), column)
    return replace(CORRECT, translations=Translations(changed))


def check(dataset: Dataset, used_rows: UsedRows | None = None) -> list[Finding]:
    return list(audit(dataset, used_rows, ["translations"]))


def test_exact_translations_have_no_warning() -> None:
    assert all(finding.severity == "info" for finding in check(CORRECT))
    assert check(replace(CORRECT, translations=change({}).translations.only([]))) == []


FAULTS: dict[str, Callable[[int, str], str]] = {
    "copied": lambda number, row_id: TEXTS[row_id].upper(),
    "repeated": lambda number, row_id: "同じ翻訳が繰り返されています。",
    "german": lambda number, row_id: f"Die Regierung der Stadt will Strom sparen, Teil {number}",
}


@cache
def check_planted(kind: str, num_rows: int) -> list[Finding]:
    """Return the findings if so many translations are replaced; two tests read them."""
    return check(change({i: FAULTS[kind](n, i) for n, i in enumerate(ENGLISH[:num_rows])}))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("copied", "20 of 300 translations en -> ja equal their text"),
        ("copied", "20 of 300 translations en -> ja seem to be in another language than ja"),
        ("repeated", "20 of 300 translations en -> ja are the same for different texts"),
        ("german", "20 of 300 translations en -> ja seem to be in another language than ja"),
    ],
)
def test_planted_faults_are_warnings(kind: str, expected: str) -> None:
    findings = {finding.message: finding for finding in check_planted(kind, 20)}
    assert expected in findings
    found = findings[expected]
    assert (found.severity, found.count, found.about) == ("warning", 20, "translations")
    assert all(finding.severity == "info" for finding in check_planted(kind, 2))


def test_only_translations_that_cells_read_are_judged() -> None:
    copied = change({i: TEXTS[i] for i in ENGLISH[:20]})
    test = tuple(row.id for row in CORRECT.by_lang["ja"][:10])
    plain = UsedRows((Draw(tuple(ENGLISH[:30]), (), test),))
    assert check(copied, plain) == []
    warned = check(copied, replace(plain, read=(EN_JA,)))
    assert "20 of 30 translations en -> ja equal their text" in [f.message for f in warned]
    others = UsedRows((Draw(tuple(ENGLISH[20:50]), (), test),), read=(EN_JA,))
    assert not [f for f in check(copied, others) if "equal their text" in f.message]


def test_a_translation_that_nearly_equals_a_test_text_is_a_warning() -> None:
    japanese = CORRECT.by_lang["ja"]
    longest = max((row.id for row in japanese), key=lambda row_id: len(TEXTS[row_id]))
    near = change({ENGLISH[0]: TEXTS[longest] + "。"})
    drawn = Draw(tuple(ENGLISH[:10]), (), (longest,))
    (warned,) = check(near, UsedRows((drawn,), read=(EN_JA,)))
    assert (warned.severity, warned.count) == ("warning", 1)
    assert warned.message.startswith(
        "1 translations en -> ja nearly equal a text on the other side"
    )
    other = Draw(tuple(ENGLISH[:10]), (longest,), (japanese[0].id, japanese[1].id))
    assert not check(near, UsedRows((other,), read=(EN_JA,)))
