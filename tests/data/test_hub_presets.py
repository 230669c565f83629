"""The presets of public data sets, on folders in the form of their cards."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
import yaml
from datasets import ClassLabel, Features, Value
from hub_folders import TEXTS, TOPICS, cells, errors, read, write, write_card

from xlt.data.core.errors import InputError
from xlt.data.sources.hub.presets import PRESETS
from xlt.data.sources.hub.source import Options
from xlt.data.sources.registry import parse_source

pytestmark = pytest.mark.usefixtures("offline")


def test_sib200(sib200: Path) -> None:
    reading = read(sib200, preset="sib200", languages=["en", "ja"])
    assert reading.dataset.classes == tuple(TOPICS)
    assert cells(reading, "id", "text", "lang", "label", "story", "source") == [
        ("eng_Latn/train/0", "Wind", "en", 0, "100", "train"),
        ("eng_Latn/train/1", "Rome", "en", 1, "101", "train"),
        ("eng_Latn/train/2", "Vote", "en", 2, "102", "train"),
        ("eng_Latn/test/0", "Sun", "en", 0, "103", "test"),
        ("jpn_Jpan/train/0", "風", "ja", 0, "100", "train"),
        ("jpn_Jpan/train/1", "ローマ", "ja", 1, "101", "train"),
        ("jpn_Jpan/train/2", "投票", "ja", 2, "102", "train"),
        ("jpn_Jpan/test/0", "太陽", "ja", 0, "103", "test"),
    ]


def test_a_card_whose_files_are_tsv(tmp_path: Path) -> None:
    lines = "index_id\tcategory\ttext\n7\ttravel\tRome, by train\n9\tpolitics\tVote\n"
    (tmp_path / "data" / "eng_Latn").mkdir(parents=True)
    (tmp_path / "data" / "eng_Latn" / "train.tsv").write_text(lines)
    files = [{"split": "train", "path": "data/eng_Latn/train.tsv"}]
    card = {"configs": [{"config_name": "eng_Latn", "data_files": files}]}
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    reading = read(tmp_path, preset="sib200", languages=["en"])
    assert reading.dataset.classes == ("politics", "travel")
    assert cells(reading, "text", "label", "story") == [
        ("Rome, by train", 1, "7"),
        ("Vote", 0, "9"),
    ]


def test_a_preset_of_topics_makes_a_task_of_two_classes(sib200: Path) -> None:
    reading = read(sib200, preset="sib200", languages=["ja"], positive=["travel"], split="train")
    assert reading.dataset.classes == ("negative", "positive")
    assert cells(reading, "text", "label") == [("風", 0), ("ローマ", 1), ("投票", 0)]
    listed = read(
        sib200, preset="sib200", languages=["ja"], classes=["politics", "travel"],
        drop_other_labels=True,
    )  # fmt: skip
    assert cells(listed, "text", "label") == [("ローマ", 1), ("投票", 0)]
    assert listed.dropped == {"label that is no class": 2}


def test_explicit_options_win_over_a_preset(sib200: Path) -> None:
    reading = read(
        sib200,
        preset="sib200",
        configs={"en-GB": {"config": "eng_Latn", "split": "test"}, "ja": "jpn_Jpan"},
        split=["train"],
        columns={"story": None, "id": None},
    )
    assert cells(reading, "lang", "source") == [("en-GB", "test")] + [("ja", "train")] * 3
    assert cells(reading, "story") == [None] * 4


def test_multifin(tmp_path: Path) -> None:
    features = Features({name: Value("string") for name in ("id", "text", "label", "lang")})
    for split, langs in (("train", ["English", "Japanese", "Polish"]), ("validation", ["English"])):
        write(
            tmp_path / "multifin" / "all_languages_highlevel" / f"{split}-0.parquet",
            features,
            id=[str(n) for n in range(2 * len(langs))],
            text=[f"{split} {lang} {n}" for lang in langs for n in (1, 2)],
            label=["Finance", "Tax & Accounting"] * len(langs),
            lang=[lang for lang in langs for _ in (1, 2)],
        )
    write_card(tmp_path / "multifin", {"all_languages_highlevel": ["train", "validation"]})
    reading = read(tmp_path / "multifin", preset="multifin", languages=["ja", "en"])
    assert reading.dataset.classes == ("Finance", "Tax & Accounting")
    assert cells(reading, "id", "text", "lang", "label") == [
        ("all_languages_highlevel/train/2", "train Japanese 1", "ja", 0),
        ("all_languages_highlevel/train/3", "train Japanese 2", "ja", 1),
        ("all_languages_highlevel/train/0", "train English 1", "en", 0),
        ("all_languages_highlevel/train/1", "train English 2", "en", 1),
        ("all_languages_highlevel/validation/0", "validation English 1", "en", 0),
        ("all_languages_highlevel/validation/1", "validation English 2", "en", 1),
    ]
    named = {"ja": {"config": "all_languages_highlevel", "lang": "jpn_Jpan"}}
    assert cells(read(tmp_path / "multifin", preset="multifin", configs=named), "text", "lang") == [
        ("train Japanese 1", "ja"),
        ("train Japanese 2", "ja"),
    ]
    assert errors(tmp_path / "multifin", preset="multifin", languages=["en", "da"]) == [
        "all_languages_highlevel: unknown language 'Danish'. Did you mean 'English'? "
        "Known: English, Japanese, Polish. It is configs.da.lang."
    ]
    columns = {"lang": "language"}
    assert errors(tmp_path / "multifin", preset="multifin", languages=["en"], columns=columns) == [
        "all_languages_highlevel/train, all_languages_highlevel/validation: unknown column "
        "'language'. Did you mean 'lang'? Known: id, label, lang, text. "
        "Name the right one in columns.lang."
    ]


def test_massive(tmp_path: Path) -> None:
    """The hub's Parquet copy has a folder for each locale and split, and no card."""
    features = Features(
        id=Value("string"), locale=Value("string"), partition=Value("string"),
        scenario=ClassLabel(names=["social", "alarm", "iot"]),
        intent=ClassLabel(names=["alarm_set", "iot_hue", "joke"]),
        utt=Value("string"), annot_utt=Value("string"),
    )  # fmt: skip
    for locale, lang in (("en-US", "en"), ("ja-JP", "ja")):
        for split, rows in (("train", [0, 1]), ("validation", [2]), ("test", [3])):
            write(
                tmp_path / "massive" / locale / split / "0000.parquet",
                features,
                id=[str(row) for row in rows],
                locale=[locale] * len(rows),
                partition=[split] * len(rows),
                scenario=[1 + row % 2 for row in rows],
                intent=[row % 2 for row in rows],
                utt=[TEXTS[lang][row] for row in rows],
                annot_utt=[TEXTS[lang][row] for row in rows],
            )
    reading = read(tmp_path / "massive", preset="massive", languages=["en", "ja"])
    assert reading.dataset.classes == ("alarm", "iot")  # no row is social
    assert cells(reading, "id", "text", "label", "story")[4:] == [
        ("ja-JP/train/0", "風", 0, "0"),
        ("ja-JP/train/1", "ローマ", 1, "1"),
        ("ja-JP/validation/0", "投票", 0, "2"),
        ("ja-JP/test/0", "太陽", 1, "3"),
    ]
    columns = {"label": "intent"}
    intents = read(tmp_path / "massive", preset="massive", languages=["en"], columns=columns)
    assert intents.dataset.classes == ("alarm_set", "iot_hue")
    assert cells(intents, "story") == ["0", "1", "2", "3"]


def test_xnli(tmp_path: Path) -> None:
    labels = ["entailment", "neutral", "contradiction"]
    features = Features(
        premise=Value("string"), hypothesis=Value("string"), label=ClassLabel(names=labels)
    )
    for lang in ("en", "de"):
        for split in ("validation", "test"):
            write(
                tmp_path / "xnli" / lang / f"{split}-00000-of-00001.parquet",
                features,
                premise=[f"{lang} {split} premise"] * 3,
                hypothesis=[f"{lang} hypothesis {n}" for n in range(3)],
                label=[2, 0, 1],
            )
    write_card(tmp_path / "xnli", {"en": ["validation", "test"], "de": ["validation", "test"]})
    reading = read(tmp_path / "xnli", preset="xnli", languages=["en", "de"], split="test")
    assert reading.dataset.classes == tuple(labels)
    assert cells(reading, "text", "text_pair", "label", "story")[3:] == [
        ("de test premise", "de hypothesis 0", 2, "test/0"),
        ("de test premise", "de hypothesis 1", 0, "test/1"),
        ("de test premise", "de hypothesis 2", 1, "test/2"),
    ]


def test_pawsx(tmp_path: Path) -> None:
    features = Features(
        id=Value("int32"), sentence1=Value("string"), sentence2=Value("string"),
        label=ClassLabel(names=["0", "1"]),
    )  # fmt: skip
    for lang in ("en", "ja"):
        splits = {
            split: datasets.Dataset.from_dict(
                {
                    "id": [1, 2, 3],
                    "sentence1": [f"{lang} {split} {n}" for n in range(3)],
                    "sentence2": [f"{lang} {split} {n}!" for n in range(2)] + [""],
                    "label": [0, 1, 1],
                },
                features=features,
            )
            for split in ("train", "test")
        }
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "paws-x" / lang)
    reading = read(tmp_path / "paws-x", preset="pawsx", languages=["ja", "en"])
    assert reading.dataset.classes == ("negative", "positive")
    assert cells(reading, "id", "text_pair", "label", "story")[:4] == [
        ("ja/train/0", "ja train 0!", 0, "train/1"),
        ("ja/train/1", "ja train 1!", 1, "train/2"),
        ("ja/test/0", "ja test 0!", 0, "test/1"),
        ("ja/test/1", "ja test 1!", 1, "test/2"),
    ]
    assert reading.dropped == {"empty text": 4}
    assert reading.num_read == 12
    (problem,) = errors(tmp_path / "paws-x", preset="pawsx", languages=["ja"], drop_empty=False)
    assert problem == (
        "2 rows without the second text of their pair; fill or remove them: "
        "ja/train row 2, ja/test row 2"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_languages_and_columns(name: str) -> None:
    codes = list(PRESETS[name]["configs"])
    options = Options.parse({"source": "hub", "preset": name, "languages": codes})
    assert list(options.chosen()) == codes
    with pytest.raises(InputError, match=rf"languages is required\. Known of {name}: .*\bes\b"):
        parse_source({"source": "hub", "preset": name})
    other = {"source": "hub", "preset": name, "languages": ["en"], "positive": ["x"]}
    assert Options.parse(other).classes is None
