"""Label leaks in texts are refused, and honest texts pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt.data.audit import leaks
from xlt.data.audit.leaks import MIN_ROWS, best_trait, find_leaks
from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset
from xlt.data.sources.registry import SOURCES, load_dataset, parse_source

WORDS = [f"word{n}" for n in range(80)]
KANJI = [chr(0x4E00 + n) for n in range(300)]
TOPICS = {1: ["Environment", "Health"], 0: ["Sports", "Media", "Business"]}


def honest(num_rows: int = 400, lang: str = "en", seed: int = 0) -> list[tuple[str, int]]:
    """Texts whose words say something about the label, as real ones do, but not everything."""
    rng = random.Random(seed)
    units = WORDS if lang == "en" else KANJI
    rows = []
    for number in range(num_rows):
        label = number % 2
        half = units[: len(units) * 2 // 3] if label else units[len(units) // 3 :]
        text = (" " if lang == "en" else "").join(rng.choices(half, k=12))
        rows.append((text, label))
    return rows


def to_dataset(rows: list[tuple[str, int]], lang: str = "en") -> Dataset:
    values = [
        {"id": str(n), "text": text, "lang": lang, "label": label, "source": "test"}
        for n, (text, label) in enumerate(rows)
    ]
    return Dataset.from_table(pa.Table.from_pylist(values, schema=HEADLINE_SCHEMA))


def topic(label: int, number: int) -> str:
    return TOPICS[label][number % len(TOPICS[label])]


LEAKS: dict[str, Callable[[str, int, int], str]] = {
    "first word": lambda text, y, n: f"{topic(y, n)} {text}",
    "first word of one class": lambda text, y, n: f"ESG {text}" if y else text,
    "first word of the other class": lambda text, y, n: text if y else f"other {text}",
    "last word": lambda text, y, n: f"{text} #{topic(y, n)}",
    "glued in front": lambda text, y, n: topic(y, n) + text,
    "glued at the end": lambda text, y, n: text + str(y),
    "bracketed": lambda text, y, n: f"【{topic(y, n)} news】{text}",
    "bracketed at the end": lambda text, y, n: f"{text}（{topic(y, n)}）",
    "before a colon": lambda text, y, n: f"{topic(y, n)} and more: {text}",
    "after a bar": lambda text, y, n: f"{text} | all about {topic(y, n)}",
    "a word in the middle": lambda text, y, n: f"{text} <{y}> {text}",
    "a character in the middle": lambda text, y, n: f"{text}{'★' if y else ''}{text}",
    "white space at the end": lambda text, y, n: text + " " * y,
}


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("leak", LEAKS)
def test_leaks_are_found(leak: str, lang: str) -> None:
    rows = [(LEAKS[leak](text, y, n // 2), y) for n, (text, y) in enumerate(honest(lang=lang))]
    (problem,) = find_leaks(to_dataset(rows, lang))
    assert problem.startswith(f"the {lang} texts contain their label: wh")
    assert "balanced accuracy of" in problem and "remove the label from the texts" in problem


def test_the_label_inside_the_text_is_found_by_its_values() -> None:
    rows = [
        (f"{t[:40]} - {topic(y, n // 2).upper()} - {t[40:]}", y)
        for n, (t, y) in enumerate(honest())
    ]
    values = [value for topics in TOPICS.values() for value in topics]
    assert find_leaks(to_dataset(rows)) == []
    (problem,) = find_leaks(to_dataset(rows), values)
    assert "what it contains of the label values (for example 'health')" in problem


@given(st.integers(0, 10**6), st.sampled_from(["en", "ja"]), st.integers(2 * MIN_ROWS, 300))
@settings(max_examples=25, deadline=None)
def test_honest_texts_pass(seed: int, lang: str, num_rows: int) -> None:
    rows = honest(num_rows, lang, seed)
    assert find_leaks(to_dataset(rows, lang), ["word", "Sports"]) == []
    shuffled = [label for _, label in rows]
    random.Random(seed).shuffle(shuffled)
    assert best_trait([text for text, _ in rows], shuffled)[0] < 0.75


def test_unbalanced_and_unique_texts_pass() -> None:
    rows = [(f"{n:05d} text {n % 97}", int(n % 31 == 0)) for n in range(1600)]
    assert find_leaks(to_dataset(rows)) == []


def test_noisy_leaks_are_found_up_to_the_threshold() -> None:
    for num_wrong, is_leak in ((0, True), (16, True), (24, False)):
        rows = [
            (f"{'yes' if (y == 1) != (n < num_wrong) else 'no'} {text}", y)
            for n, (text, y) in enumerate(honest(400))
        ]
        assert bool(find_leaks(to_dataset(rows))) == is_leak
        share, what = best_trait([text for text, _ in rows], [y for _, y in rows])
        assert share == pytest.approx(1 - num_wrong / 400)
        assert what == "what it starts with (for example 'yes')"


def test_of_very_many_texts_a_sample_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{'yes' if y else 'no'} {text}", y) for text, y in honest(400)]
    monkeypatch.setattr(leaks, "MAX_TEXTS", 300)
    assert len(find_leaks(to_dataset(rows))) == 1
    monkeypatch.setattr(leaks, "MAX_TEXTS", MIN_ROWS)  # too few of each class to judge
    assert find_leaks(to_dataset(rows)) == []


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_repeated_texts_do_not_confirm_each_other(lang: str) -> None:
    assert find_leaks(to_dataset(honest(lang=lang) * 10, lang)) == []


def test_few_rows_are_not_judged() -> None:
    rows = [(f"{topic(y, n)} {text}", y) for n, (text, y) in enumerate(honest(2 * MIN_ROWS - 2))]
    assert find_leaks(to_dataset(rows)) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_built_in_headlines_pass(seed: int) -> None:
    assert "synthetic" in SOURCES
    options = {"source": "synthetic", "seed": seed, "num_source": 1000, "num_target": 1000}
    assert find_leaks(load_dataset(parse_source(options))) == []


def test_the_table_source_refuses_leaks_unless_the_check_is_off(tmp_path: Path) -> None:
    lines = [
        f"{text} {topic(y, n // 2)},{topic(y, n // 2)}" for n, (text, y) in enumerate(honest())
    ]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(lines))
    values = {"source": "table", "path": str(tmp_path / "a.csv"), "lang": "en",
              "positive": TOPICS[1]}  # fmt: skip
    with pytest.raises(InputError, match=r"contain their label.*or set leak_check: false"):
        load_dataset(parse_source(values))
    assert load_dataset(parse_source({**values, "leak_check": False})).table.num_rows == 400
