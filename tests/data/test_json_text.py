"""JSON that would crash Python's parser, or what reads its values, is one ValueError."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from xlt.data.core import files, json_text
from xlt.data.core.errors import InputError
from xlt.data.core.files import Files, read_json_file
from xlt.data.core.json_text import MAX_DEPTH, is_deeper, parse_json


def nested(depth: int, kind: str) -> bytes:
    start, end = {"list": ("[", "]"), "object": ('{"a":', "}"), "mixed": ('[{"a":', "}]")}[kind]
    return (start * depth + "1" + end * depth).encode()


@pytest.mark.parametrize("kind", ["list", "object", "mixed"])
def test_deep_nesting_is_refused_at_any_depth(kind: str) -> None:
    levels = 2 if kind == "mixed" else 1
    assert parse_json(nested(MAX_DEPTH // levels, kind)) == json.loads(
        nested(MAX_DEPTH // levels, kind)
    )
    for depth in (MAX_DEPTH // levels + 1, 500, 990, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 100 levels"):
            parse_json(nested(depth, kind))


def test_many_shallow_lists_are_not_deep() -> None:
    assert parse_json(json.dumps([[]] * 1000)) == [[]] * 1000
    assert is_deeper([[1]], 1) and not is_deeper([1], 1) and not is_deeper(1, 0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe[\x00]\x00", "utf-8"),
        (b"[" + b"9" * 5000 + b"]", "4300 digits"),
        (rb'["\ud800"]', "surrogates not allowed"),
        (rb'["\uDC80"]', "surrogates not allowed"),
        (b'["\xed\xa0\x80"]', "utf-8"),
    ],
)
def test_what_is_no_json_is_a_value_error(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json(content)


def test_characters_outside_the_basic_plane_are_read() -> None:
    assert parse_json(b'\xef\xbb\xbf["\\ud83d\\ude00"]') == ["\U0001f600"]


def test_a_large_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (json_text, files):
        monkeypatch.setattr(module, "MAX_JSON_BYTES", 10)
    file = tmp_path / "a.json"
    file.write_text('{"a": 100000}')
    with pytest.raises(ValueError, match="larger than"):
        read_json_file(file)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    file: Any = tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a pipe, socket or device"):
        Files(str(tmp_path)).read_json("a.json")
    with pytest.raises(OSError, match="a pipe, socket or device"):
        read_json_file(file)


def test_a_bad_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(nested(100_000, "list"))
    with pytest.raises(InputError, match=r"a\.json is not JSON: lists or objects are nested"):
        Files(str(tmp_path)).read_json("a.json")
