"""The source hub, offline, on folders that ``datasets`` wrote in the form of the cards."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from hub_folders import SIB, cells, errors, read, write
from repository import ROOT

from xlt.data.core.errors import InputError
from xlt.data.sources.hub.presets import PRESETS
from xlt.data.sources.hub.source import Options
from xlt.data.sources.options import LabelOptions
from xlt.data.sources.registry import parse_source

pytestmark = pytest.mark.usefixtures("offline")


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
    assert errors(tmp_path / "json", **options) == [
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


def test_labels_that_are_kept_secret_are_reported(sib200: Path) -> None:
    path = sib200 / "eng_Latn" / "test-00000-of-00001.parquet"
    write(path, SIB, index_id=[7], category=[-1], text=["Moon"])
    assert errors(sib200, preset="sib200", languages=["en"]) == [
        "1 rows without label; fill or remove them: eng_Latn/test row 0"
    ]


def test_missing_parts_of_a_data_set_are_reported(sib200: Path) -> None:
    options: dict[str, Any] = {"preset": "sib200", "languages": ["en", "ja"]}
    assert errors(sib200, **options, columns={"label": "categori", "story": None}) == [
        "eng_Latn/train, eng_Latn/test, jpn_Jpan/train and 1 more: unknown column 'categori'. "
        "Did you mean 'category'? Known: category, index_id, text. "
        "Name the right one in columns.label."
    ]
    assert errors(sib200, **options, configs={"en": "eng_Latn", "ja": "jpn_Japan"}) == [
        "jpn_Japan: unknown config 'jpn_Japan'. Did you mean 'jpn_Jpan'? Known: eng_Latn, jpn_Jpan."
    ]
    assert errors(sib200, **options, split="tets") == [
        "eng_Latn, jpn_Jpan: unknown split 'tets'. Did you mean 'test'? Known: test, train."
    ]
    assert errors(sib200, **options, positive=["Travel"]) == [
        "no row has the positive label: unknown label 'Travel'. Did you mean 'travel'? "
        "Known: politics, science/technology, travel."
    ]
    (sib200 / "README.md").unlink()
    assert errors(sib200, **options, configs={"en": "eng_Latn", "ja": "jpn_Japan"}) == [
        "jpn_Japan: unknown config 'jpn_Japan'. Did you mean 'jpn_Jpan'? Known: eng_Latn, jpn_Jpan."
    ]


def test_scripts_and_broken_folders_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"configs": {"en": "en"}, "positive": ["esg"]}
    for folder, script in (("massive", "massive.py"), ("copy", "massive.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / script).write_text("raise SystemExit('was run')")
        (problem,) = errors(tmp_path / folder, **options)
        assert problem == (
            "is made by a script, and scripts are never run; take a copy in data "
            "files, such as the hub's own (revision: refs/convert/parquet)"
        )
    (tmp_path / "broken" / "en").mkdir(parents=True)
    (tmp_path / "broken" / "en" / "train.parquet").write_bytes(b"no parquet")
    (problem,) = errors(tmp_path / "broken", **options)
    assert problem.startswith("en: cannot be read: ")
    assert errors(tmp_path / "none", **options) == ["there is no such folder"]


def in_a_home(folder: Path, code: str) -> str:
    """Run code offline, with an empty home and cache, and return its output."""
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
        "from xlt.data.sources.registry import load_dataset, parse_source\n"
        f"print(load_dataset(parse_source({values!r})).table.num_rows)"
    )
    assert in_a_home(tmp_path, code) == "4"
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("preset", ["sib200", "massive"])
def test_a_hub_out_of_reach_is_reported_with_the_remedy(preset: str, tmp_path: Path) -> None:
    values = {"source": "hub", "preset": preset, "languages": ["en"]}
    code = (
        "from xlt.data.sources.registry import load_dataset, parse_source\n"
        "from xlt.data.core.errors import InputError\n"
        f"try: load_dataset(parse_source({values!r}))\n"
        "except InputError as error: print(error)"
    )
    name = PRESETS[preset]["dataset"]
    revision = "--revision refs/convert/parquet " if preset == "massive" else ""
    assert in_a_home(tmp_path, code) == (
        f"{name}: the hub cannot be reached; download the data set on a machine that reaches it "
        f"(hf download {name} --repo-type dataset {revision}--local-dir FOLDER) "
        "and set dataset: FOLDER"
    )


def test_a_missing_package_is_reported(sib200: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert errors(sib200, preset="sib200", languages=["en"]) == [
        "the source hub needs the package datasets; pip install 'xlt-sweep[hub]'"
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"preset": ["xnli"]}, "unknown preset \"['xnli']\". Did you mean 'xnli'?"),
        ({"preset": "sib20"}, "unknown preset 'sib20'. Did you mean 'sib200'?"),
        ({"preset": "pawsx", "languages": ["jav"]}, "unknown language 'jv'. Known: de, en,"),
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
def test_contradictory_options_are_reported(options: dict[str, Any], problem: str) -> None:
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
