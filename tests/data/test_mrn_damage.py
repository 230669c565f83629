"""Damaged archives: each line is a row, dropped, or rejected with a reason."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mrn_archives import (
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

from xlt.data.core.errors import InputError
from xlt.data.sources.mrn import files as mrn_files
from xlt.data.sources.mrn.items import MAX_HEADLINE, ItemError, parse_item
from xlt.data.sources.mrn.read import read_file
from xlt.data.sources.mrn.rules import RULES
from xlt.data.sources.mrn.source import read


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
        (spell(make("out", subjects=["N2:LEN", 3])), "data.subjects has entries that are not text"),
        (spell(make("out", headline=" \r\n")), "data.headline is empty"),
        (spell(make("out", headline="x" * 10_000_000)),
         f"data.headline has 10000000 characters, over {MAX_HEADLINE}"),
        (spell(make("out", altId="")), "data.altId is empty"),
        (spell(make("out", takeSequence=2**70)), "data.takeSequence is not a whole number"),
        (spell(make("out", takeSequence=-1)), "data.takeSequence is not between 0 and 9999"),
        (spell(make("out", versionCreated="3 May")),
         "data.versionCreated is not an ISO 8601 time ('3 May')"),
        (spell(make("out", versionCreated="0001-01-01T00:00:00+14:00")),
         "data.versionCreated is not an ISO 8601 time"),
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


def test_lines_before_a_cut_are_kept(tmp_path: Path) -> None:
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


NOT_ONE = "is not a Machine Readable News archive: its first line is not "


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
    (problem,) = errors(tmp_path / name)
    assert problem.startswith(f"no item could be read; 1 problems: {tmp_path / name} {reason}")
    (tmp_path / "b.txt").write_bytes(archive(make("g1")))
    reading = load([tmp_path / name, tmp_path / "b.txt"])
    assert (ids(reading), reading.num_read) == (["g1"], 2)


def test_an_archive_without_items_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(archive())
    assert errors(tmp_path / "a.txt") == ["no item could be read; the files are empty"]
    (tmp_path / "a.txt").write_bytes(archive(make("g1")))
    (problem,) = errors(tmp_path / "a.txt", start="2022-01-01")
    assert problem.endswith("the files are empty, or cover other days than start and end")


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
    assume(all(lines))  # an empty one is no line
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
def test_damaged_files_are_reported(tmp_path: Path, content: bytes) -> None:
    check_damaged_bytes(tmp_path, content)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@given(edits=st.lists(EDITS, min_size=1, max_size=6))
@MANY
def test_damaged_lines_are_accounted_for_at_length(
    tmp_path: Path, edits: list[tuple[int, float, str, int]]
) -> None:
    check_damaged_lines(tmp_path, edits)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@given(content=bytes_of_archives())
@MANY
def test_damaged_files_are_reported_at_length(tmp_path: Path, content: bytes) -> None:
    check_damaged_bytes(tmp_path, content)
