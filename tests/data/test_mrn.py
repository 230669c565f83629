"""The source mrn: the items that become rows, and counts of all others."""

from __future__ import annotations

import datetime
import gzip
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from mrn_archives import (
    ESG,
    JAPANESE,
    archive,
    errors,
    ids,
    layout,
    load,
    load_items,
    make,
    options,
    rejects,
    spell,
    story,
)
from repository import ROOT

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn import files as mrn_files
from xlt.data.sources.mrn.read import read_parallel
from xlt.data.sources.mrn.rules import RULES, Options
from xlt.data.sources.mrn.source import read
from xlt.data.sources.registry import parse_source


def test_a_row_has_the_values_of_its_item(tmp_path: Path) -> None:
    english = make("g1", headline="  Example  Holdings\r\nsets <0000.T>　target ",
                   firstCreated="2021-05-02T23:00:00.000Z")  # fmt: skip
    late = make("g2", versionCreated="2021-05-31T23:30:00-03:00", **JAPANESE)
    reading = load_items(tmp_path, english, late, languages=["en", "ja"])
    assert reading.dataset.table.to_pylist() == [
        {"id": "g1", "text": "Example Holdings sets <0000.T> target", "text_pair": None,
         "lang": "en", "label": 1, "published": datetime.date(2021, 5, 3), "story": "ng1",
         "source": "mrn"},
        {"id": "g2", "text": JAPANESE["headline"], "text_pair": None, "lang": "ja", "label": 0,
         "published": datetime.date(2021, 6, 1), "story": "ng2", "source": "mrn"},
    ]  # fmt: skip
    assert (reading.num_read, reading.dropped, rejects(reading)) == (2, {}, [])


@pytest.mark.parametrize(
    ("rule", "changes", "values"),
    [
        ("another language", JAPANESE, {}),
        ("not usable", {"pubStatus": "stat:canceled"}, {}),
        ("outside start and end", {"versionCreated": "2021-05-10T00:00:00Z"},
         {"end": "2021-05-09"}),
        ("outside start and end", {"versionCreated": "2021-05-01T23:59:59.999Z"},
         {"start": "2021-05-02"}),
        ("alert", {"urgency": 1, "body": " \r\n"}, {}),
        ("later take", {"takeSequence": 2}, {}),
        ("recurring headline", {"headline": "DIARY - Coming events"}, {}),
        ("recurring headline", {"headline": "TOP NEWS-Funds"}, {}),
        ("recurring headline", {"headline": "Plants: a list"}, {"drop_headlines": ["P.*list$"]}),
        ("excluded subject", {"subjects": [ESG, "N2:SPO"]}, {"exclude": ["N2:SPO"]}),
        ("no subjects", {"subjects": []}, {}),
    ],
)  # fmt: skip
def test_a_rule_leaves_out_its_items_and_counts_them(
    rule: str, changes: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    reading = load_items(tmp_path, make("kept"), make("out", **changes), **values)
    assert (ids(reading), reading.dropped) == (["kept"], {rule: 1})
    assert reading.num_read == 2


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"urgency": 1, "body": ""}, {"alerts": True}),
        ({"urgency": 1}, {}),  # an urgent item with a body is no alert
        ({"takeSequence": 2}, {"takes": "all"}),
        ({"headline": "Diary of a plant"}, {}),
        ({"headline": "TABLES turn for steel"}, {}),
        ({"headline": "DIARY - Coming events"}, {"drop_headlines": []}),
        ({"versionCreated": "2021-05-09T23:59:59.999Z"},
         {"start": "2021-05-03", "end": "2021-05-09"}),
    ],
)  # fmt: skip
def test_items_that_no_rule_drops_are_kept(
    changes: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    reading = load_items(tmp_path, make("kept"), make("too", **changes), **values)
    assert (sorted(ids(reading)), reading.dropped) == (["kept", "too"], {})


@pytest.mark.parametrize(
    ("values", "kept", "dropped"),
    [
        ({}, ["v9t1"], {"later take": 3, "earlier version": 2}),
        ({"versions": "first"}, ["v1t1"], {"later take": 3, "later version": 2}),
        ({"takes": "all"}, ["v9t1", "v9t2"], {"earlier version": 4}),
        ({"takes": "all", "versions": "first"}, ["v1t1", "v1t2"], {"later version": 4}),
        # A version that another rule leaves out does not hide those that it does not.
        ({"end": "2021-05-03", "drop_headlines": ["Plant v9"]}, ["v5t1"],
         {"later take": 3, "recurring headline": 1, "earlier version": 1}),
    ],
)  # fmt: skip
def test_one_version_of_a_story_is_kept(
    values: dict[str, Any], kept: list[str], dropped: dict[str, int], tmp_path: Path
) -> None:
    for serials in ((1, 5, 9), (9, 1, 5)):
        reading = load_items(tmp_path, *story(*serials), **values)
        assert (ids(reading), reading.dropped) == (kept, dropped)


def test_versions_in_two_languages_are_two_stories(tmp_path: Path) -> None:
    items = [make("g1", altId="nS"), make("g2", altId="nS", **JAPANESE)]
    reading = load_items(tmp_path, *items, languages=["en", "ja"])
    assert (sorted(ids(reading)), reading.dropped) == (["g1", "g2"], {})


def test_both_generations_of_a_month_count_once(tmp_path: Path) -> None:
    items = [make("g1"), make("g2", headline="BUZZ-Steel"), make("g3")]
    for year in ("2020", "2021"):
        (tmp_path / year).mkdir()
    new = tmp_path / "2021" / "STORY.RTRS.2021-05.REC.JSON.txt.gz"
    new.write_bytes(gzip.compress(archive(*items)))
    (tmp_path / "2020" / "News.RTRS.202105.0214.txt").write_bytes(archive(*items, make("g4")))
    (tmp_path / "2020" / "notes.txt").write_text("no archive, and not read")
    reading = load(tmp_path)
    assert ids(reading) == ["g1", "g3", "g4"]
    assert reading.dropped == {"recurring headline": 2, "also in another file": 2}
    assert reading.num_read == 7
    again = load(tmp_path / "2021" / "*.gz")
    assert ids(again) == ["g1", "g3"]


def test_a_copy_of_a_file_or_item_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive(make("g1"), make("g1"), make("g2")))
    once = load(tmp_path / "a.txt")
    assert once.dropped == {"twice in its file": 1}
    named_twice = load([tmp_path / "a.txt", tmp_path / "*.txt"])
    assert named_twice.dataset.fingerprint == once.dataset.fingerprint
    assert named_twice.dropped == once.dropped
    (tmp_path / "b.txt").write_bytes((tmp_path / "a.txt").read_bytes())
    copied = load(tmp_path / "*.txt")
    assert copied.dataset.fingerprint == once.dataset.fingerprint
    assert copied.dropped == {"twice in its file": 2, "also in another file": 2}


def test_a_file_of_other_days_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive(make("g1")))
    (tmp_path / "b.txt").write_bytes(
        archive(make("g2"), Start="2021-08-01T00:00:00.000Z", End="2021-09-01T00:00:00.000Z")
    )
    reports: list[tuple[int, int]] = []
    kept = options(tmp_path / "*.txt", start="2021-05-01", end="2021-07-30")
    reading = read(kept, lambda done, in_all: reports.append((done, in_all)))
    assert (ids(reading), reading.num_read) == (["g1"], 1)
    assert reports[-1][0] == reports[-1][1] > 0
    # Its items may lie a day beyond what its header says.
    assert load(tmp_path / "*.txt", end="2021-07-31").num_read == 2


def test_codes_and_languages_that_no_item_has_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive(make("g1"), make("g2", **JAPANESE)))
    values = {"positive": ["ESGENV"], "exclude": ["n2:lja"], "languages": ["en", "de"]}
    assert errors(tmp_path / "a.txt", **values) == [
        "positive: no item has it; unknown subject code 'ESGENV'. Did you mean 'N2:ESGENV'? "
        "Known: N2:ESGENV, N2:LEN, N2:LJA.",
        "exclude: no item has it; unknown subject code 'n2:lja'. Did you mean 'N2:LJA'? "
        "Known: N2:ESGENV, N2:LEN, N2:LJA.",
        "languages: unknown language 'de'. Known: en, ja.",
    ]
    assert load(tmp_path / "a.txt", positive=["R:0000.T"]).dataset.table["label"][0].as_py() == 1
    assert "Did you mean 'R:0000.T'?" in errors(tmp_path / "a.txt", positive=["R:0000"])[0]


def test_a_language_without_rows_is_reported(tmp_path: Path) -> None:
    japanese = make("g2", **{**JAPANESE, "subjects": []})
    (tmp_path / "a.txt").write_bytes(archive(make("g1"), japanese))
    assert errors(tmp_path / "a.txt", languages=["en", "ja"]) == [
        "no ja row is left of 1 ja items; dropped from all 2 items: no subjects 1; "
        "relax these rules or remove ja from languages"
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"languages": ["Japanes"]},
            "languages: language 'Japanes' is not a BCP-47 code such as en or zh-Hant, and not",
        ),
        ({"drop_headlines": ["("]}, "drop_headlines: '(' is not a regular expression: "),
        ({"drop_headlines": [".*"]}, "drop_headlines: '.*' matches every headline; remove it"),
        ({"exclude": [ESG]}, "['N2:ESGENV'] are both positive and exclude; remove them from one"),
        ({"start": "2022-01-02", "end": "2022-01-01"}, "start 2022-01-02 is after end 2022-01-01"),
        ({"versions": "all"}, "versions: should be 'first' or 'last' (got 'all')"),
        ({"positive": []}, "positive: "),
        ({"takess": "all"}, "unknown key 'takess'. Did you mean 'takes'?"),
    ],
)  # fmt: skip
def test_contradictory_options_are_reported(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        options("a.txt", **values)
    assert str(caught.value).startswith(problem)


def test_paths_without_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    assert errors(tmp_path) == [
        f"{tmp_path}: the folder holds no file named {mrn_files.SHOWN_NAMES}; name the files"
    ]
    problems = errors([tmp_path / "none.txt", "s4://bucket/a.txt"])
    assert problems[0].startswith(f"{tmp_path / 'none.txt'}: there is no such file")
    assert problems[1].startswith("s4://bucket/a.txt: cannot be read: Unrecognized filesystem")


def test_workers_and_the_order_of_files_change_nothing(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        items = [make(f"g{n}", altId=f"n{n // 3}") for n in range(number * 5, number * 5 + 9)]
        content = layout([*map(spell, items), b"oops"])
        paths.append(tmp_path / f"{number}.txt.gz")
        paths[-1].write_bytes(gzip.compress(content))
    alone = load(paths)
    assert alone.dropped == {"also in another file": 8, "earlier version": 12}
    reports: list[tuple[int, int]] = []
    together = read(
        options(paths[::-1]),
        lambda *report: reports.append(report),
        partial(read_parallel, num_workers=2),
    )
    assert together.dataset.table.equals(alone.dataset.table)
    assert together.dropped == alone.dropped
    assert together.rejects.equals(alone.rejects)
    size = sum(path.stat().st_size for path in paths)
    assert reports[-1] == (size, size)


def test_the_guide_is_true() -> None:
    guide = (ROOT / "docs" / "data.md").read_text("utf-8")
    section = guide[guide.index("## The Reuters archive") :]
    block = section.split("```yaml\n")[1].split("```")[0]
    parse_source(yaml.safe_load(block)["data"])
    for option in Options.model_fields:
        assert option == "source" or f"| `{option}` |" in section
    for rule in RULES:
        assert f"| {rule} |" in section
