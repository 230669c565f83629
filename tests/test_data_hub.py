"""The hub source, offline, on folders that ``datasets`` itself wrote in the form of the cards."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets import ClassLabel, Features, Value

from data.errors import InputError
from data.sources import parse_source, read_source
from data.sources.hub import Options
from data.sources.hub_presets import PRESETS
from data.sources.options import LabelOptions
from data.sources.reading import Reading

ROOT = Path(__file__).parent.parent
TOPICS = ["science/technology", "travel", "politics"]
TEXTS = {"en": ["Wind", "Rome", "Vote", "Sun"], "ja": ["風", "ローマ", "投票", "太陽"]}
SIB = Features(index_id=Value("int64"), category=ClassLabel(names=TOPICS), text=Value("string"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()  # of the writers below
    yield
    datasets.enable_progress_bars()
    assert not (tmp_path / "cache").exists()


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
    dumped = parse_source(values).model_dump(mode="json", exclude_unset=True)
    assert parse_source(dumped) == parse_source(values)
    return reading


def cells(reading: Reading, *names: str) -> list[Any]:
    rows = zip(*(reading.dataset.table[name].to_pylist() for name in names), strict=True)
    return [row[0] if len(names) == 1 else row for row in rows]


def told(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(folder, **options)
    assert caught.value.where == str(folder)
    return caught.value.problems


@pytest.fixture
def sib200(tmp_path: Path) -> Path:
    folder = tmp_path / "sib200"
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
    assert told(tmp_path / "multifin", preset="multifin", languages=["en", "da"]) == [
        "all_languages_highlevel: unknown language 'Danish'. Did you mean 'English'? "
        "Known: English, Japanese, Polish. It is configs.da.lang."
    ]
    columns = {"lang": "language"}
    assert told(tmp_path / "multifin", preset="multifin", languages=["en"], columns=columns) == [
        "all_languages_highlevel/train, all_languages_highlevel/validation: unknown column "
        "'language'. Did you mean 'lang'? Known: id, label, lang, text. "
        "Name the right one in columns.lang."
    ]


def test_massive(tmp_path: Path) -> None:
    """As the hub's Parquet copy has it: a folder a locale and split, and no card."""
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
    (problem,) = told(tmp_path / "paws-x", preset="pawsx", languages=["ja"], drop_empty=False)
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


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_folders_of_other_files(suffix: str, tmp_path: Path) -> None:
    rows = {"text": ["Wind", "Goal"], "topic": ["esg", "sport"], "key": ["a", "b"],
            "day": ["2022-08-31", "2022-09-01"]}  # fmt: skip
    for lang in ("en", "ja"):
        keyed = {**rows, "key": [f"{lang}{key}" for key in rows["key"]]}
        (tmp_path / "news" / lang).mkdir(parents=True)
        data = datasets.Dataset.from_dict(keyed)
        if suffix == "csv":
            data.to_csv(tmp_path / "news" / lang / "train.csv")
        else:
            data.to_json(tmp_path / "news" / lang / "train.jsonl")
    reading = read(
        tmp_path / "news", configs={"en": "en", "ja": "ja"}, positive=["esg"],
        columns={"label": "topic", "id": "key", "published": "day"},
    )  # fmt: skip
    assert cells(reading, "id", "label", "source") == [
        ("ena", 1, "train"), ("enb", 0, "train"), ("jaa", 1, "train"), ("jab", 0, "train"),
    ]  # fmt: skip
    days = [datetime.date(2022, 8, 31), datetime.date(2022, 9, 1)]
    assert cells(reading, "published") == days * 2


def test_days_are_those_that_were_written(tmp_path: Path) -> None:
    rows = {"text": ["Wind", "Goal"], "label": ["esg", "sport"],
            "day": ["2022-08-31T23:30:00-08:00", "2022-09-01T00:30:00+09:00"]}  # fmt: skip
    data = datasets.Dataset.from_dict(rows)
    options: dict[str, Any] = {"configs": {"en": "en"}, "positive": ["esg"]}
    options["columns"] = {"published": "day"}
    for name in ("csv", "parquet", "json"):
        (tmp_path / name / "en").mkdir(parents=True)
    data.to_csv(tmp_path / "csv" / "en" / "train.csv")
    data.to_parquet(tmp_path / "parquet" / "en" / "train.parquet")
    for name in ("csv", "parquet"):
        days = cells(read(tmp_path / name, **options), "published")
        assert days == [datetime.date(2022, 8, 31), datetime.date(2022, 9, 1)]
    data.to_json(tmp_path / "json" / "en" / "train.jsonl")
    assert told(tmp_path / "json", **options) == [
        "en/train: datasets reads times of JSON files as UTC, whatever their zone; read them with "
        "the source table, store them as Parquet, or set columns.published: null"
    ]


def test_a_folder_without_configs_is_one(tmp_path: Path) -> None:
    rows = {"text": ["Wind", "Goal"], "label": ["esg", "sport"]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    (tmp_path / "plain").mkdir()
    datasets.Dataset.from_dict(rows).to_json(tmp_path / "plain" / "test.jsonl")
    for name, split in (("saved", "train"), ("plain", "test")):
        reading = read(tmp_path / name, configs={"en": "default"}, positive=["esg"])
        assert cells(reading, "id", "label") == [
            (f"default/{split}/0", 1), (f"default/{split}/1", 0),
        ]  # fmt: skip


def test_rows_without_a_story_have_none_of_their_own(sib200: Path) -> None:
    path = sib200 / "eng_Latn" / "test-00000-of-00001.parquet"
    write(path, SIB, index_id=[7, None, None], category=[0, 1, 2], text=["Moon", "Oslo", "Law"])
    reading = read(sib200, preset="sib200", languages=["en"], split="test", parallel=True)
    assert cells(reading, "story") == ["test/7", None, None]


def test_labels_that_are_kept_secret_are_told(sib200: Path) -> None:
    path = sib200 / "eng_Latn" / "test-00000-of-00001.parquet"
    write(path, SIB, index_id=[7], category=[-1], text=["Moon"])
    assert told(sib200, preset="sib200", languages=["en"]) == [
        "1 rows without label; fill or remove them: eng_Latn/test row 0"
    ]


def test_what_a_data_set_lacks_is_told(sib200: Path) -> None:
    options: dict[str, Any] = {"preset": "sib200", "languages": ["en", "ja"]}
    assert told(sib200, **options, columns={"label": "categori", "story": None}) == [
        "eng_Latn/train, eng_Latn/test, jpn_Jpan/train and 1 more: unknown column 'categori'. "
        "Did you mean 'category'? Known: category, index_id, text. "
        "Name the right one in columns.label."
    ]
    assert told(sib200, **options, configs={"en": "eng_Latn", "ja": "jpn_Japan"}) == [
        "jpn_Japan: unknown config 'jpn_Japan'. Did you mean 'jpn_Jpan'? Known: eng_Latn, jpn_Jpan."
    ]
    assert told(sib200, **options, split="tets") == [
        "eng_Latn, jpn_Jpan: unknown split 'tets'. Did you mean 'test'? Known: test, train."
    ]
    assert told(sib200, **options, positive=["Travel"]) == [
        "no row has the positive label: unknown label 'Travel'. Did you mean 'travel'? "
        "Known: politics, science/technology, travel."
    ]
    (sib200 / "README.md").unlink()
    assert told(sib200, **options, configs={"en": "eng_Latn", "ja": "jpn_Japan"}) == [
        "jpn_Japan: unknown config 'jpn_Japan'. Did you mean 'jpn_Jpan'? Known: eng_Latn, jpn_Jpan."
    ]


def test_scripts_and_broken_folders_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"configs": {"en": "en"}, "positive": ["esg"]}
    for folder, script in (("massive", "massive.py"), ("copy", "massive.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / script).write_text("raise SystemExit('was run')")
        (problem,) = told(tmp_path / folder, **options)
        assert problem == (
            "is made by a script of its own, and scripts are never run; take a copy in data "
            "files, such as the hub's own (revision: refs/convert/parquet)"
        )
    (tmp_path / "broken" / "en").mkdir(parents=True)
    (tmp_path / "broken" / "en" / "train.parquet").write_bytes(b"no parquet")
    (problem,) = told(tmp_path / "broken", **options)
    assert problem.startswith("en: cannot be read: ")
    assert told(tmp_path / "none", **options) == ["there is no such folder"]


def in_a_home(folder: Path, code: str) -> str:
    """What a process prints whose home and cache are empty folders, and which is offline."""
    environment = {
        **os.environ, "HOME": str(folder / "home"), "HF_HOME": str(folder / "home" / "hf"),
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    (folder / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_folder_is_read_without_a_trace_in_the_home(sib200: Path, tmp_path: Path) -> None:
    values = {"source": "hub", "preset": "sib200", "dataset": str(sib200), "languages": ["en"]}
    code = (
        "from data.sources import load_dataset, parse_source\n"
        f"print(load_dataset(parse_source({values!r})).table.num_rows)"
    )
    assert in_a_home(tmp_path, code) == "4"
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("preset", ["sib200", "massive"])
def test_a_hub_out_of_reach_is_told_with_the_remedy(preset: str, tmp_path: Path) -> None:
    values = {"source": "hub", "preset": preset, "languages": ["en"]}
    code = (
        "from data.sources import load_dataset, parse_source\n"
        "from data.errors import InputError\n"
        f"try: load_dataset(parse_source({values!r}))\n"
        "except InputError as error: print(error)"
    )
    name = PRESETS[preset]["dataset"]
    revision = "--revision refs/convert/parquet " if preset == "massive" else ""
    assert in_a_home(tmp_path, code) == (
        f"{name}: the hub cannot be reached; download the data set where it can (hf download "
        f"{name} --repo-type dataset {revision}--local-dir FOLDER) and set dataset: FOLDER"
    )


def test_a_missing_package_is_told(sib200: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert told(sib200, preset="sib200", languages=["en"]) == [
        "the source hub needs the package datasets; pip install 'xlt-sweep[hub]'"
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"preset": ["xnli"]}, "unknown preset \"['xnli']\". Did you mean 'xnli'?"),
        ({"preset": "sib20"}, "unknown preset 'sib20'. Did you mean 'sib200'?"),
        ({"preset": "pawsx", "languages": ["jap"]}, "unknown language 'jap'. Did you mean 'ja'?"),
        ({"configs": {"en": "en"}, "classes": "all"}, "dataset: is required"),
        ({"dataset": "a/b", "classes": "all"}, "configs: is required"),
        ({"dataset": "a/b", "classes": "all", "configs": {"en": {"config": "en", "lang": "x"}}},
         "configs have lang, but columns.lang is not given; name that column"),
        ({"dataset": "a/b", "classes": "all", "configs": {"en": {"confg": "en"}}},
         "configs.en.config: is required"),
        ({"dataset": "a/b", "classes": "all", "configs": {"en": "en"},
          "columns": {"label": "text"}}, "columns.text and columns.label are both 'text'"),
        ({"dataset": "a/b", "configs": {"en": "en"}}, "positive and classes are missing"),
        ({"preset": "xnli", "languages": ["en"], "trust_remote_code": True},
         "unknown key 'trust_remote_code'."),
    ],
)  # fmt: skip
def test_contradictory_options_are_told(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_source({"source": "hub", **options})
    assert problem in str(caught.value)


def test_the_guide_is_true(sib200: Path) -> None:
    guide = (ROOT / "docs" / "data.md").read_text("utf-8")
    (block,) = (b for b in guide.split("```")[1::2] if "source: hub" in b)
    values = yaml.safe_load(block.split("\n", 1)[1])["data"]
    del values["source"]
    reading = read(sib200, **{**values, "dataset": str(sib200)})
    assert cells(reading, "label") == [0, 1, 0, 0] * 2
    section = guide.split("## Public data sets")[1]
    own = Options.model_fields.keys() - LabelOptions.model_fields.keys() - {"source"}
    for option in sorted(own):
        assert f"| `{option}` |" in section
    for preset in PRESETS:
        assert f"| `{preset}` |" in section
