"""Folders in the form of public data sets, as tests write and read them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets import ClassLabel, Features, Value

from xlt.data.core.errors import InputError
from xlt.data.sources.reading import Reading
from xlt.data.sources.registry import parse_source, read_source

TOPICS = ["science/technology", "travel", "politics"]
TEXTS = {"en": ["Wind", "Rome", "Vote", "Sun"], "ja": ["風", "ローマ", "投票", "太陽"]}
SIB = Features(index_id=Value("int64"), category=ClassLabel(names=TOPICS), text=Value("string"))


def write(path: Path, features: Features, **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def write_card(folder: Path, configs: dict[str, list[str]]) -> None:
    """A card that says where the files of each config and split are, as on the hub."""
    entries = [
        {
            "config_name": config,
            "data_files": [{"split": s, "path": f"{config}/{s}-*.parquet"} for s in splits],
        }
        for config, splits in configs.items()
    ]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': entries})}---\n# Data\n")


def read(folder: Path, **options: Any) -> Reading:
    values = {"source": "hub", "dataset": str(folder), **options}
    reading = read_source(parse_source(values))
    dumped = parse_source(values).as_given()
    assert parse_source(dumped) == parse_source(values)
    return reading


def cells(reading: Reading, *names: str) -> list[Any]:
    rows = zip(*(reading.dataset.table[name].to_pylist() for name in names), strict=True)
    return [row[0] if len(names) == 1 else row for row in rows]


def errors(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(folder, **options)
    assert caught.value.where == str(folder)
    return caught.value.problems


def write_sib200(folder: Path) -> Path:
    """English and Japanese, three topics, the same sentences in both."""
    for config, lang in (("eng_Latn", "en"), ("jpn_Jpan", "ja")):
        for split, rows in (("train", (0, 1, 2)), ("test", (3,))):
            write(
                folder / config / f"{split}-00000-of-00001.parquet",
                SIB,
                index_id=[100 + row for row in rows],
                category=[row % 3 for row in rows],
                text=[TEXTS[lang][row] for row in rows],
            )
    write_card(folder, {c: ["train", "test"] for c in ("eng_Latn", "jpn_Jpan")})
    return folder


SIB_COUNTS = {
    "science/technology": 252, "travel": 198, "politics": 146, "sports": 122, "health": 110,
    "entertainment": 93, "geography": 83,
}  # fmt: skip
"""Topic -> number of sentences in each language (SIB-200, Adelani et al. 2024; 1,004 in all)."""


SIB_WORDS = {"eng_Latn": "alpha beta gamma", "jpn_Jpan": "いろ はに ほへ"}
"""Config -> words that say nothing."""


def write_whole_sib200(folder: Path, words_of: Mapping[str, str] = SIB_WORDS) -> Path:
    """Write rows of each topic, as many as SIB-200 has, in its three splits.

    The sentences are invented: a word of the topic among words that say nothing.
    """
    features = Features(index_id=Value("int64"), category=Value("string"), text=Value("string"))
    topics = [topic for topic, count in SIB_COUNTS.items() for _ in range(count)]
    random.Random(0).shuffle(topics)
    for config, words in words_of.items():
        rng = random.Random(config)
        start = 0
        for split, num_rows in (("train", 701), ("validation", 99), ("test", 204)):
            rows = range(start, start + num_rows)
            start += num_rows
            write(
                folder / config / f"{split}-00000-of-00001.parquet",
                features,
                index_id=list(rows),
                category=[topics[row] for row in rows],
                text=[
                    f"{rng.choice(words.split())} {config[:3]}{topics[row][:5]} {row}"
                    f" {rng.choice(words.split())}"
                    for row in rows
                ],
            )
    splits = ["train", "validation", "test"]
    write_card(folder, dict.fromkeys(words_of, splits))
    return folder


MULTIFIN_COUNTS = {
    "Business & Management": 81, "Finance": 34, "Government & Controls": 27, "Industry": 31,
    "Tax & Accounting": 35, "Technology": 22,
}  # fmt: skip
"""Topic -> number of invented Japanese headlines: 230, as many as MultiFin has in Japanese."""


def write_multifin(folder: Path) -> Path:
    """Write headlines in MultiFin's form: one config, languages by their English names."""
    features = Features({name: Value("string") for name in ("id", "text", "label", "lang")})
    rows = [
        (f"{label} {lang} {number}", label, lang)
        for lang, times in (("English", 8), ("Japanese", 1), ("Polish", 2))
        for label, count in MULTIFIN_COUNTS.items()
        for number in range(times * count)
    ]
    texts, labels, langs = (list(column) for column in zip(*rows, strict=True))
    write(
        folder / "all_languages_highlevel" / "train-0.parquet", features,
        id=[str(number) for number in range(len(rows))], text=texts, label=labels, lang=langs,
    )  # fmt: skip
    write_card(folder, {"all_languages_highlevel": ["train"]})
    return folder
