"""Audit: planted problems are found with the right severity, and good data have no findings."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from audit_rows import built_in, cell, make
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.audit.example_rows import NUM_EXAMPLES
from xlt.data.audit.registry import CHECKS, audit
from xlt.data.audit.text import MAX_CHARACTERS
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.errors import InputError
from xlt.data.core.finding import SEVERITIES, Finding, describe_findings
from xlt.data.dataset.patterns import Window
from xlt.data.dataset.schema import Dataset, text_key

pytestmark = pytest.mark.slow

GOOD = [
    {"text": "Oil major pledges net zero by 2050"},
    {"text": "Striker signs for five years"},
    {"text": "電力大手、石炭火力の廃止を表明", "lang": "ja"},
    {"text": "首位攻防、延長で引き分け", "lang": "ja"},
]


def found(dataset: Dataset, check: str, used_rows: UsedRows | None = None) -> list[tuple[str, int]]:
    """Severity and count of what a check finds."""
    return [(f.severity, f.count) for f in audit(dataset, used_rows, [check])]


def test_built_in_headlines_pass_with_the_draws_of_quickstart() -> None:
    dataset, used_rows = built_in()
    findings = audit(dataset, used_rows)
    # The info: headlines of which one place or year is another, and the counts of both languages.
    assert [(f.about, f.severity) for f in findings] == [
        ("near_duplicates", "info"), ("balance", "info"), ("balance", "info"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_reports_its_name_and_a_remedy_and_changes_nothing(name: str) -> None:
    dataset, used_rows = built_in()
    bad = make(*(dict(row, text=row["text"] + "\x07") for row in GOOD * 2), GOOD[0], GOOD[0])
    before = bad.fingerprint
    for data, cells in (
        (dataset, used_rows),
        (bad, UsedRows()),
        (bad, UsedRows((cell("0 1", "2 4"),))),
    ):
        findings = audit(data, cells, [name])
        assert findings == audit(data, cells, [name])
        for finding in findings:
            assert finding.about == name and finding.severity in SEVERITIES and finding.count > 0
            assert finding.message and finding.remedy and len(finding.examples) <= NUM_EXAMPLES
    assert bad.fingerprint == before


def test_checks_are_found_by_name_and_reported_in_order() -> None:
    dataset = make(GOOD[0], GOOD[0], {"text": "a\x00"})
    names = [f.about for f in audit(dataset, None, reversed(CHECKS))]
    assert names == sorted(names, key=list(CHECKS).index)
    assert set(names) == {"text", "duplicates", "balance"}
    with pytest.raises(InputError, match=r"unknown check 'txet'\. Did you mean 'text'\?"):
        audit(dataset, None, ["txet"])


def test_rows_cross_only_within_one_cell() -> None:
    used_rows = UsedRows((cell("a b", "c"), cell("c", "d")))
    assert (
        used_rows.crosses(["a"], ["c"])
        and used_rows.crosses(["c"], ["a"])
        and used_rows.crosses("d", "c")
    )
    assert not used_rows.crosses(["a"], ["d"]) and not used_rows.crosses(["a"], ["b"])
    assert used_rows.uses("d") and not used_rows.uses("e") and UsedRows().uses("e")


# Text.


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\u200b\u2060", "hold no visible character"),
        ("<p></p><br/>", "hold nothing but HTML tags, URLs or entities"),
        ("https://example.com/a?b=1&c", "hold nothing but HTML tags, URLs or entities"),
        ("&nbsp;&#8230; <!-- ad -->", "hold nothing but HTML tags, URLs or entities"),
        ("電" * (MAX_CHARACTERS + 1), "are longer than 1000 characters"),
        ("Oil major\x07 pledges", "hold control characters"),
        ("Oil m\ufffdjor pledges", "hold the replacement character U+FFFD"),
    ],
)
def test_bad_texts_are_reported(text: str, what: str) -> None:
    dataset = make(*GOOD, {"text": text})
    (finding,) = audit(dataset, None, ["text"])
    assert (finding.severity, finding.count) == ("warning", 1)
    assert finding.message == f"1 texts {what}" and finding.examples[0].startswith("4: ")
    (finding,) = audit(dataset, UsedRows((cell("0", "1"),)), ["text"])
    assert finding.severity == "info" and finding.message.endswith(", 0 of them drawn")
    (finding,) = audit(dataset, UsedRows((cell("4", "1"),)), ["text"])
    assert finding.severity == ("error" if "visible" in what else "warning")
    pairs = [{**row, "text_pair": "It blows"} for row in GOOD]
    assert found(make(*pairs, {"text": "Wind", "text_pair": text}), "text") == [("warning", 1)]


@pytest.mark.parametrize(
    "text",
    ["???", "7203.T", "👍", "AT&T; Q&A", "1 < 2 and 3 > 2", "Line\nbreak\tand tab", "e\u0301te",
     "<b>Oil</b> major", "See https://example.com now", "詳細はhttps://example.com/報道発表",
     "電" * MAX_CHARACTERS],
)  # fmt: skip
def test_readable_texts_pass(text: str) -> None:
    assert found(make({"text": text}), "text") == []


# Duplicates.


def test_a_text_in_train_and_test_is_an_error_only_within_one_cell() -> None:
    dataset = make({"text": "Wind Farm"}, {"text": "ｗｉｎｄ  farm", "label": 0}, *GOOD)
    assert found(dataset, "duplicates") == [("info", 1)]
    for draws, severities in (
        ((cell("0 2", "1 3"),), [("error", 2), ("info", 1)]),
        ((cell("2 3", "1 0"),), [("info", 1)]),
        ((cell("0", "2"), cell("3", "1")), [("info", 1)]),
        ((cell("2", "2"),), [("error", 1), ("info", 1)]),
    ):
        assert found(dataset, "duplicates", UsedRows(draws)) == severities


def test_a_text_in_two_languages_or_under_two_labels_is_a_warning() -> None:
    two_langs = make({"text": "NVIDIA", "label": 0}, {"text": "Nvidia", "label": 0, "lang": "ja"})
    assert found(two_langs, "duplicates") == [("warning", 2)]
    two_labels = make({"text": "Wind"}, {"text": "wind"}, {"text": "Wind", "label": 0})
    assert found(two_labels, "duplicates") == [("warning", 3), ("info", 2)]
    pairs = make({"text": "Wind", "text_pair": "a"}, {"text": "Wind", "text_pair": "b"})
    assert found(pairs, "duplicates") == []


@given(st.lists(st.tuples(st.sampled_from(["a", "A ", "b", "ｂ", "c"]), st.booleans()), min_size=1))
def test_duplicates_are_counted_as_by_hand(rows: list[tuple[str, bool]]) -> None:
    dataset = make(*({"text": text, "label": int(label)} for text, label in rows))
    labels: dict[str, list[bool]] = {}
    for text, label in rows:
        labels.setdefault(text_key(text), []).append(label)
    conflicting = sum(len(group) for group in labels.values() if len(set(group)) > 1)
    repeated = len(rows) - len(labels)
    expected = [("warning", conflicting)] * bool(conflicting) + [("info", repeated)] * bool(
        repeated
    )
    assert found(dataset, "duplicates") == expected


# Dates.


def day(number: int) -> datetime.date:
    return datetime.date(2022, 1, number)


def window(start: int, end: int) -> Window:
    return Window(start=day(start), end=day(end))


DATED = [
    {"published": day(1)}, {"published": day(2)}, {"published": day(20), "lang": "ja"},
    {"published": day(21), "lang": "ja"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("used_rows", "severities"),
    [
        (UsedRows(), []),
        (UsedRows((), window(1, 20), window(21, 31)), [("info", 2)]),  # no en row in the test's
        (UsedRows((), window(1, 20), window(20, 31)), [("error", 1), ("info", 2)]),
        (UsedRows((), None, window(25, 31)), [("error", 4)]),
        (UsedRows((cell("0 1", "2"),), window(1, 20), None), []),
        (UsedRows((cell("0 3", "2"),), window(1, 20), None), [("error", 1)]),
        (UsedRows((cell("0", "1 2"),), None, window(20, 31)), [("info", 2), ("error", 1)]),
    ],
)
def test_windows(used_rows: UsedRows, severities: list[tuple[str, int]]) -> None:
    assert found(make(*DATED), "dates", used_rows) == severities


def test_undated_rows_are_reported_where_windows_ask_for_dates() -> None:
    many = make(*DATED, {"published": None})
    few = make(*DATED[:1] * 30, {"published": None})
    used_rows = UsedRows((), window(1, 31))
    assert found(many, "dates") == []
    assert found(many, "dates", used_rows) == [("warning", 1)]
    assert found(few, "dates", used_rows) == [("info", 1)]
    assert found(many, "dates", UsedRows((cell("4", "1"),), window(1, 31)))[0] == ("error", 1)


# Balance.


def test_absent_and_rare_classes_are_reported() -> None:
    one_sided = make({"label": 1}, {"label": 1}, {"lang": "ja", "label": 0}, {"lang": "ja"})
    assert found(one_sided, "balance") == [("info", 2), ("warning", 2), ("info", 2)]
    drawn = UsedRows((cell("0", "2 3"),))
    assert ("error", 2) in found(one_sided, "balance", drawn)
    assert ("error", 2) not in found(one_sided, "balance", UsedRows((cell("2", "3"),)))
    for num_positive, is_rare in ((4, True), (5, False)):
        labels = [{"label": int(n < num_positive)} for n in range(100)]
        expected = [("info", 100)] + [("warning", num_positive)] * is_rare
        assert found(make(*labels), "balance") == expected


def test_with_many_classes_an_even_share_is_not_rare() -> None:
    classes = tuple(f"topic{n}" for n in range(25))
    rows = [{"label": n % 25} for n in range(1000)]
    assert found(make(*rows, classes=classes), "balance") == [("info", 1000)]
    rows += [{"label": 0}] * 20_000  # 40 of 21,000: below a tenth of a 25th
    (_, rare) = audit(make(*rows, classes=classes), None, ["balance"])
    assert rare.severity == "warning" and rare.count == 24 * 40


# Report.


def finding(severity: Any, count: int = 2) -> Finding:
    return Finding(
        "text",
        severity,
        f"{count} rows are odd",
        "correct them",
        count=count,
        examples=("7: 'a'",),
    )


def test_errors_are_described_first_and_all_are_counted() -> None:
    findings = [finding("info"), finding("warning", 3), finding("error")]
    blocks = describe_findings(findings).split("\n\n")
    assert blocks[0] == "ERROR text: 2 rows are odd\n    7: 'a'\n    -> correct them"
    assert [block.split()[0] for block in blocks[1:]] == ["WARNING", "INFO", "1"]
    assert blocks[-1] == "1 error, 1 warning, 1 info."
    assert describe_findings([]) == "0 errors, 0 warnings, 0 info."
