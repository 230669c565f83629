"""The Reuters archive: every item kept, dropped by a rule or rejected; nothing else happens."""

from __future__ import annotations

import datetime
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.sources import mrn_files, parse_source, read_source
from data.sources.mrn import read
from data.sources.mrn_items import MAX_HEADLINE, ItemError, parse_item
from data.sources.mrn_read import read_file
from data.sources.mrn_rules import RULES, Options
from data.sources.reading import Reading

ESG = "N2:ESGENV"


def make(guid: str, **changes: Any) -> dict[str, Any]:
    """An item as the archive has them: an English article about ESG, alone in its story."""
    data = {
        "altId": f"n{guid}", "audiences": ["NP:E"], "body": "LONDON, May 3 - Text.\r\n",
        "firstCreated": "2021-05-03T08:00:00.000Z", "headline": f"Plant {guid} cuts emissions",
        "id": guid, "instancesOf": [], "language": "en", "messageType": 2,
        "mimeType": "text/plain", "provider": "NS:RTRS", "pubStatus": "stat:usable",
        "subjects": ["R:0000.T", "N2:LEN", ESG], "takeSequence": 1, "urgency": 3,
        "versionCreated": "2021-05-03T08:20:00.000Z", **changes,
    }  # fmt: skip
    recorded = [{"name": "recorded", "timestamp": data["versionCreated"]}]
    return {"guid": guid, "timestamps": recorded, "data": data}


JAPANESE = {"language": "ja", "headline": "架空商事、配当を据え置き", "subjects": ["N2:LJA"]}
HEADER = {"RIC": "MRN_STORY", "Start": "2021-05-01T00:00:00.000Z",
          "End": "2021-06-01T00:00:00.000Z", "MajorVersion": "2"}  # fmt: skip


def spell(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode()


def layout(lines: list[bytes], **header: Any) -> bytes:
    head = json.dumps({**HEADER, **header})[:-1].encode() + b', "Items":[\n'
    return head + b",\n".join(lines) + b"\n]}\n"


def archive(*items: dict[str, Any], **header: Any) -> bytes:
    return layout([spell(item) for item in items], **header)


def options(path: Any, **values: Any) -> Options:
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    values = {"languages": ["en"], "positive": [ESG], **values}
    parsed = parse_source({"source": "mrn", "path": paths, **values})
    assert isinstance(parsed, Options)
    return parsed


def load(path: Any, **values: Any) -> Reading:
    return read_source(options(path, **values))


def load_items(folder: Path, *items: dict[str, Any], **values: Any) -> Reading:
    (folder / "a.txt").write_bytes(archive(*items))
    return load(folder / "a.txt", **values)


def ids(reading: Reading) -> list[str]:
    return list(reading.dataset.table["id"].to_pylist())


def told(path: Any, **values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(path, **values)
    return caught.value.problems


def rejects(reading: Reading) -> list[tuple[int, str]]:
    return [(row["row"], row["reason"]) for row in reading.rejects.to_pylist()]


def test_a_row_is_what_the_item_says(tmp_path: Path) -> None:
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
def test_what_a_rule_does_not_mean_is_kept(
    changes: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    reading = load_items(tmp_path, make("kept"), make("too", **changes), **values)
    assert (sorted(ids(reading)), reading.dropped) == (["kept", "too"], {})


def story(*serials: int) -> list[dict[str, Any]]:
    """Versions of one story, an hour apart, each in two takes."""
    return [
        make(f"v{serial}t{take}", altId="nS", takeSequence=take,
             versionCreated=f"2021-05-03T{serial:02d}:00:00.000Z")
        for serial in serials
        for take in (1, 2)
    ]  # fmt: skip


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


def without(name: str) -> bytes:
    item = make("out")
    del item["data"][name]
    return spell(item)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (spell(make("out"))[:200], "is not JSON at character "),
        (b'{"guid": NaN}', "is not JSON at character 9: "),
        (b"[" * 3000, "is not JSON at character 1025: depth limit exceeded"),
        (b"[]", "is not a JSON object"),
        (b'{"guid": "g"}', "data is missing"),
        (b'{"guid": "g", "data": []}', "data is not an object"),
        (spell({**make("out"), "guid": 7}), "guid is not text"),
        (spell({**make("out"), "guid": ""}), "guid is missing"),
        (without("headline"), "data.headline is missing"),
        (spell(make("out", body=None, urgency="3", takeSequence=True, subjects={})),
         "data.body is missing, data.subjects is not a list, "
         "data.takeSequence is not a whole number and 1 more"),
        (spell(make("out", subjects=["N2:LEN", 3])), "data.subjects holds what is not text"),
        (spell(make("out", headline=" \r\n")), "data.headline is empty"),
        (spell(make("out", headline="x" * 10_000_000)),
         f"data.headline has 10000000 characters, over {MAX_HEADLINE}"),
        (spell(make("out", altId="")), "data.altId is empty"),
        (spell(make("out", takeSequence=2**70)), "data.takeSequence is not a whole number"),
        (spell(make("out", takeSequence=-1)), "data.takeSequence is not between 0 and 9999"),
        (spell(make("out", versionCreated="3 May")),
         "data.versionCreated is no ISO 8601 time ('3 May')"),
        (spell(make("out", versionCreated="0001-01-01T00:00:00+14:00")),
         "data.versionCreated is no ISO 8601 time"),
        (spell(make("out")).replace(b"Plant", b"Pl\\ud800nt"), "is not JSON at character "),
        (spell(make("out")).replace(b"Plant", b"Pl\xe4nt"), "is not UTF-8 at byte "),
        (spell(make("out")).replace(b"Plant", b"Pl\0nt"), "is not JSON at character "),
    ],
)  # fmt: skip
def test_a_line_that_is_no_item_is_rejected(line: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(layout([spell(make("g1")), line, spell(make("g2"))]))
    reading = load(tmp_path / "a.txt")
    ((row, got),) = rejects(reading)
    assert row == 3
    assert got.startswith(reason)
    assert ids(reading) == ["g1", "g2"]
    assert reading.rejects["file"].to_pylist() == [str(tmp_path / "a.txt")]


def test_lines_over_the_limit_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mrn_files, "MAX_LINE", 5000)
    monkeypatch.setattr(mrn_files, "BLOCK", 1000)
    long = [spell(make("out", body="x" * num)) for num in (4900, 20_000)]
    (tmp_path / "a.txt").write_bytes(layout([spell(make("g1")), *long, spell(make("g2"))]))
    reading = load(tmp_path / "a.txt")
    assert ids(reading) == ["g1", "g2"]
    assert [row for row, _ in rejects(reading)] == [3, 4]
    (tmp_path / "a.txt").write_bytes(archive(make("g1")) + b"x" * 20_000)
    assert rejects(load(tmp_path / "a.txt")) == [(4, "a line of over 5000 bytes that never ends")]


def test_what_stands_before_a_cut_is_kept(tmp_path: Path) -> None:
    rng = random.Random(0)
    items = [make(f"g{n}", body=rng.randbytes(900).hex()) for n in range(300)]
    content = archive(*items)
    packed = gzip.compress(content)
    (tmp_path / "a.txt.gz").write_bytes(packed[: len(packed) // 2])
    reading = load(tmp_path / "a.txt.gz")
    assert 140 <= len(ids(reading)) < 160
    assert rejects(reading) == [
        (len(ids(reading)) + 2,
         "cannot be read from here on: the compressed data end early; the file was cut off")
    ]  # fmt: skip
    cuts = {
        content[: content.index(b'"g200"') + 50]: (200, "ends without ]}; the file was cut off"),
        content[: content.index(b'\n{"guid": "g200"')]: (200, "ends without ]}; the file was cut"),
        content.removesuffix(b"\n]}\n"): (300, "ends without ]}; the file was cut off"),
    }
    for part, (num_kept, reason) in cuts.items():
        (tmp_path / "a.txt").write_bytes(part)
        reading = load(tmp_path / "a.txt")
        ((row, got),) = rejects(reading)
        assert len(ids(reading)) == num_kept
        assert row in (num_kept + 1, num_kept + 2)
        assert got.startswith(reason)


def test_damaged_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    rng = random.Random(0)
    items = [make(f"g{n}", body=rng.randbytes(900).hex()) for n in range(900)]
    packed = bytearray(gzip.compress(archive(*items)))
    middle = len(packed) // 2
    packed[middle : middle + 100] = bytes(100)
    (tmp_path / "a.txt.gz").write_bytes(packed)
    reading = load(tmp_path / "a.txt.gz")
    assert 0 < len(ids(reading)) < 900
    assert rejects(reading)[-1][1].startswith("cannot be read from here on: Error -3")


def test_line_ends_marks_members_and_padding_do_not_matter(tmp_path: Path) -> None:
    content = archive(make("g1"), make("g2", **JAPANESE))
    reference = load_items(tmp_path, make("g1"), make("g2", **JAPANESE), languages=["en", "ja"])
    half = len(content) // 2
    spellings = {
        "crlf.txt": content.replace(b"\n", b"\r\n"),
        "bom.txt": b"\xef\xbb\xbf" + content,
        "blank.txt": b"\n" + content.replace(b"\n", b"\n \n"),
        "open.txt": content.removesuffix(b"\n"),
        "two.txt.gz": gzip.compress(content[:half]) + gzip.compress(content[half:]) + bytes(64),
    }
    for name, spelling in spellings.items():
        (tmp_path / name).write_bytes(spelling)
        reading = load(tmp_path / name, languages=["en", "ja"])
        assert reading.dataset.fingerprint == reference.dataset.fingerprint, name
        assert rejects(reading) == [], name


NOT_ONE = "is no Machine Readable News archive: its first line is not "


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "line 1 is empty"),
        ("a.txt", b"\n\n", "line 3 is empty"),
        ("a.txt.gz", b"", "line 1 cannot be read from here on: the compressed data end early"),
        ("a.txt.gz", b"plain", "line 1 cannot be read from here on: Error -3"),
        ("a.txt", b"id,text\n1,a\n", f"line 1 {NOT_ONE}"),
        ("a.txt", b"no line break", f"line 1 {NOT_ONE}"),
        ("a.txt", gzip.compress(archive(make("g1"))), f"line 1 {NOT_ONE}"),
        ("a.txt", archive(make("g1")).replace(b"\n", b""), f"line 1 {NOT_ONE}"),
        ("a.txt", archive(make("g1"), RIC="MRN_TRNA"), "line 1 holds 'MRN_TRNA' and not MRN_STORY"),
        ("a.txt", archive(make("g1"))[:40], f"line 1 {NOT_ONE}"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_archive_is_one_reject(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    (problem,) = told(tmp_path / name)
    assert problem.startswith(f"no item could be read; 1 problems: {tmp_path / name} {reason}")
    (tmp_path / "b.txt").write_bytes(archive(make("g1")))
    reading = load([tmp_path / name, tmp_path / "b.txt"])
    assert (ids(reading), reading.num_read) == (["g1"], 2)


def test_an_archive_without_items_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive())
    assert told(tmp_path / "a.txt") == ["no item could be read; the files are empty"]
    (tmp_path / "a.txt").write_bytes(archive(make("g1")))
    (problem,) = told(tmp_path / "a.txt", start="2022-01-01")
    assert problem.endswith("the files are empty, or of other days than start and end")


def test_codes_and_languages_that_no_item_has_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive(make("g1"), make("g2", **JAPANESE)))
    values = {"positive": ["ESGENV"], "exclude": ["n2:lja"], "languages": ["en", "jp"]}
    assert told(tmp_path / "a.txt", **values) == [
        "positive: no item has it; unknown subject code 'ESGENV'. Did you mean 'N2:ESGENV'? "
        "Known: N2:ESGENV, N2:LEN, N2:LJA.",
        "exclude: no item has it; unknown subject code 'n2:lja'. Did you mean 'N2:LJA'? "
        "Known: N2:ESGENV, N2:LEN, N2:LJA.",
        "languages: unknown language 'jp'. Known: en, ja.",
    ]
    assert load(tmp_path / "a.txt", positive=["R:0000.T"]).dataset.table["label"][0].as_py() == 1
    assert "Did you mean 'R:0000.T'?" in told(tmp_path / "a.txt", positive=["R:0000"])[0]


def test_a_language_without_rows_is_told(tmp_path: Path) -> None:
    japanese = make("g2", **{**JAPANESE, "subjects": []})
    (tmp_path / "a.txt").write_bytes(archive(make("g1"), japanese))
    assert told(tmp_path / "a.txt", languages=["en", "ja"]) == [
        "no ja row is left of 1 ja items; left out of all 2 items: no subjects 1; "
        "loosen these rules or remove ja from languages"
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"languages": ["Japanese"]}, "languages: 'Japanese' is no language code such as en or ja"),
        ({"drop_headlines": ["("]}, "drop_headlines: '(' is no regular expression: "),
        ({"drop_headlines": [".*"]}, "drop_headlines: '.*' matches every headline; remove it"),
        ({"exclude": [ESG]}, "['N2:ESGENV'] are both positive and exclude; remove them from one"),
        ({"start": "2022-01-02", "end": "2022-01-01"}, "start 2022-01-02 is after end 2022-01-01"),
        ({"versions": "all"}, "versions: should be 'first' or 'last' (got 'all')"),
        ({"positive": []}, "positive: "),
        ({"takess": "all"}, "unknown key 'takess'. Did you mean 'takes'?"),
    ],
)  # fmt: skip
def test_contradictory_options_are_told(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        options("a.txt", **values)
    assert str(caught.value).startswith(problem)


def test_paths_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    assert told(tmp_path) == [
        f"{tmp_path}: the folder holds no file named {mrn_files.SHOWN_NAMES}; name the files"
    ]
    problems = told([tmp_path / "none.txt", "s4://bucket/a.txt"])
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
    together = read(options(paths[::-1]), lambda *report: reports.append(report), num_workers=2)
    assert together.dataset.table.equals(alone.dataset.table)
    assert together.dropped == alone.dropped
    assert together.rejects.equals(alone.rejects)
    size = sum(path.stat().st_size for path in paths)
    assert reports[-1] == (size, size)


GOOD = [
    *story(1, 2),
    make("g1"),
    make("g2", **JAPANESE),
    make("g3", urgency=1, body=""),
    make("g4", headline="DIARY - Coming events"),
]
# Neither line breaks, which would make lines, nor white space, which would make blank ones.
BYTES = st.integers(0, 255).filter(lambda byte: not bytes([byte]).isspace())
EDITS = st.tuples(
    st.integers(0, len(GOOD) - 1),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["change", "insert", "cut", "truncate"]),
    BYTES,
)


def edited(line: bytes, at: float, how: str, byte: int) -> bytes:
    place = int(at * len(line))
    edits: dict[str, Callable[[], bytes]] = {
        "change": lambda: line[:place] + bytes([byte]) + line[place + 1 :],
        "insert": lambda: line[:place] + bytes([byte]) + line[place:],
        "cut": lambda: line[:place] + line[place + 7 :],
        "truncate": lambda: line[: place + 3],
    }
    return edits[how]()


def is_bad(line: bytes) -> bool:
    try:
        parse_item(line)
    except ItemError:
        return True
    return False


def check_damaged_lines(folder: Path, edits: list[tuple[int, float, str, int]]) -> None:
    """Every line is accounted for, and lines that were left alone fare as they did."""
    lines = [spell(item) for item in GOOD]
    for number, *edit in edits:
        lines[number] = edited(lines[number], *edit)
    (folder / "a.txt").write_bytes(layout(lines))
    kept = options(folder / "a.txt", takes="all", languages=["en", "ja"])
    (file,) = mrn_files.find_archive_files([str(kept.path)])
    part = read_file(file, kept, lambda num: None)
    bad = [number for number, line in enumerate(lines, 2) if is_bad(line)]
    assert part.rejects["row"].to_pylist() == bad
    assert len(part.candidates) + part.dropped.total() == len(GOOD) - len(bad)
    try:
        reading = read(kept, lambda done, in_all: None)
    except InputError as error:
        assert "is left of" in str(error) or "no item" in str(error) or "unknown" in str(error)
    else:
        assert reading.num_read == len(GOOD)
        assert set(reading.dropped) <= set(RULES)


def check_damaged_bytes(folder: Path, content: bytes) -> None:
    """Whatever the bytes: rows or an error that tells why, nothing else."""
    for name in ("b.txt", "b.txt.gz"):
        (folder / name).write_bytes(content)
        try:
            load(folder / name, languages=["en", "ja"])
        except InputError as error:
            assert error.problems


def bytes_of_archives() -> st.SearchStrategy[bytes]:
    """Archives, plain and packed, with pieces cut out, put in or doubled."""
    plain = archive(*GOOD)
    whole = st.sampled_from([plain, gzip.compress(plain, mtime=0)])
    place = st.floats(0, 1)

    def splice(content: bytes, start: float, end: float, piece: bytes) -> bytes:
        first, last = sorted((int(start * len(content)), int(end * len(content))))
        return content[:first] + piece + content[last:]

    once = st.builds(splice, whole, place, place, st.binary(max_size=6))
    near = st.builds(
        lambda content, at, piece: splice(content, at, min(1, at + 0.002), piece),
        whole, place, st.binary(max_size=6),
    )  # fmt: skip
    return once | near | st.binary(max_size=200)


FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY = settings(FEW, max_examples=10_000)


@given(edits=st.lists(EDITS, min_size=1, max_size=6))
@FEW
def test_damaged_lines_are_accounted_for(
    tmp_path: Path, edits: list[tuple[int, float, str, int]]
) -> None:
    check_damaged_lines(tmp_path, edits)


@given(content=bytes_of_archives())
@FEW
def test_damaged_files_are_told(tmp_path: Path, content: bytes) -> None:
    check_damaged_bytes(tmp_path, content)


@pytest.mark.chaos
@given(edits=st.lists(EDITS, min_size=1, max_size=6))
@MANY
def test_damaged_lines_are_accounted_for_at_length(
    tmp_path: Path, edits: list[tuple[int, float, str, int]]
) -> None:
    check_damaged_lines(tmp_path, edits)


@pytest.mark.chaos
@given(content=bytes_of_archives())
@MANY
def test_damaged_files_are_told_at_length(tmp_path: Path, content: bytes) -> None:
    check_damaged_bytes(tmp_path, content)


def test_the_guide_is_true() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "data.md").read_text("utf-8")
    section = guide[guide.index("## The Reuters archive") :]
    block = section.split("```yaml\n")[1].split("```")[0]
    parse_source(yaml.safe_load(block)["data"])
    for option in Options.model_fields:
        assert option == "source" or f"| `{option}` |" in section
    for rule in RULES:
        assert f"| {rule} |" in section
