"""The check language: wrong codes are reported, names and unknown languages are not."""

from __future__ import annotations

import random

import pytest
from audit_rows import built_in, cell, make

from xlt.data.audit import sample_rows
from xlt.data.audit.language import MAX_SHARE, NUM_ALLOWED, check
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset

pytestmark = pytest.mark.slow

EN = "Government announces new tax on plastic packaging"
JA = "電力大手、石炭火力発電所の廃止を表明"
ZH = "国家电网宣布将在二〇三〇年之前关闭所有燃煤电厂并大力投资可再生能源项目建设与发展"
TEXTS = {
    "en": EN,
    "ja": JA,
    "zh": ZH,
    "de": "Der Konzern will bis 2050 seine Emissionen auf null senken",
    "ko": "전력 회사가 석탄 화력 발전소의 폐지를 발표했다",
    "fr": "Le groupe pétrolier promet la neutralité carbone d'ici 2050",
}


def misread(lang: str, *texts: str) -> list[Finding]:
    return check(make(*({"text": text, "lang": lang} for text in texts)), UsedRows())


@pytest.mark.parametrize("claimed", TEXTS)
@pytest.mark.parametrize("actual", TEXTS)
def test_texts_in_another_language_are_reported(claimed: str, actual: str) -> None:
    findings = misread(claimed, TEXTS[actual])
    if claimed == actual:
        assert findings == []
    else:
        (finding,) = findings
        assert (finding.severity, finding.count) == ("info", 1)
        assert f"1 {actual})" in finding.message


@pytest.mark.parametrize(
    "text",
    ["NVIDIA", "7203.T", "S&P 500", "Toyota Motor Corp", "Volkswagen AG", "東京", "日経平均株価",
     "日本銀行金融政策決定会合", "東京電力福島第一原子力発電所事故調査委員会報告書", "???",
     "2022-08-31"],
)  # fmt: skip
def test_names_and_tickers_are_not_judged(text: str) -> None:
    assert misread("ja", text) == []


def test_codes_with_subtags_and_without_a_detector() -> None:
    assert misread("zh-Hans", ZH) == []
    assert misread("en-GB", EN) == []
    (finding,) = misread("tlh", EN)
    assert finding.severity == "info" and "no detector for tlh" in finding.message
    assert misread("jpn", JA) == []


def mixed(share: float) -> tuple[Dataset, UsedRows, int]:
    """The built-in headlines with the texts of some Japanese rows in English."""
    dataset, used_rows = built_in()
    rows = dataset.table.to_pylist()
    english = [row["text"] for row in rows if row["lang"] == "en"]
    japanese = [row for row in rows if row["lang"] == "ja"][:1000]
    chosen = random.Random(0).sample(japanese, round(share * len(japanese)))
    for row, text in zip(chosen, english, strict=False):
        row["text"] = text
    return make(*japanese), used_rows, len(chosen)


@pytest.mark.parametrize("share", [0.1, MAX_SHARE / 2])
def test_mixed_rows_are_recalled(share: float) -> None:
    dataset, _, num_mixed = mixed(share)
    (finding,) = check(dataset, UsedRows())
    assert finding.severity == ("warning" if share > MAX_SHARE else "info")
    assert 0.99 * num_mixed <= finding.count <= num_mixed


@pytest.mark.parametrize("lang", ["de", "fr"])
def test_english_under_the_code_of_a_related_language_is_mostly_reported(lang: str) -> None:
    dataset, _ = built_in()
    english = [row["text"] for row in dataset.table.to_pylist() if row["lang"] == "en"][:1000]
    (finding,) = check(make(*({"text": text, "lang": lang} for text in english)), UsedRows())
    assert finding.severity == "warning" and finding.count > 850


def test_a_share_of_the_drawn_rows_is_a_warning() -> None:
    wrong = [{"text": f"{EN}, part {n}", "lang": "ja"} for n in range(NUM_ALLOWED + 1)]
    right = [{"text": f"{JA}、第{n}報", "lang": "ja"} for n in range(500)]
    dataset = make(*wrong, *right)
    (finding,) = check(dataset, UsedRows())
    assert (finding.severity, finding.count) == ("info", len(wrong))
    ids = " ".join(str(n) for n in range(50))
    (finding,) = check(dataset, UsedRows((cell(ids, "400"),)))
    assert finding.severity == "warning"
    assert finding.message.endswith("(3 en), 3 of them among the 51 drawn")
    assert finding.examples[0].startswith("0: 'Government")


def test_of_very_many_rows_a_sample_and_the_drawn_ones_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = [{"text": f"{EN}, part {n}", "lang": "ja"} for n in range(200)]
    right = [{"text": f"{JA}、第{n}報", "lang": "ja"} for n in range(200)]
    dataset = make(*wrong, *right)
    sample = sample_rows.sample_rows
    monkeypatch.setattr("xlt.data.audit.language.sample_rows", lambda d, lang: sample(d, lang, 100))
    (finding,) = check(dataset, UsedRows((cell("0 1 200", "399"),)))
    assert finding.severity == "warning" and 35 <= finding.count <= 67
    assert " of 100 ja rows, a sample of 400, seem to be in another language (" in finding.message
    assert finding.message.endswith(" en), and 2 of the 4 drawn")
    assert finding.examples[0].startswith("0: 'Government")
