"""Settings files that are no settings: one sentence, in a moment, in little memory."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.experiment.settings_file import MAX_BYTES, parse_settings
from xlt.sweep.experiment.yaml_text import MAX_DEPTH, MAX_VALUES

GOOD = "name: tiny\nmodels: [mini-mbert]\npatterns: [ja16]\nseeds: [0]\n"
SECONDS = 10.0
"""Longest time that a test allows; on a free machine each file takes less than two seconds."""


def aliases(levels: int, start: str, item: str) -> str:
    """Lists of ten aliases each of the list before: 10^levels values in a few hundred bytes."""
    lines = [f"a0: &a0 {start}"]
    for n in range(1, levels + 1):
        lines.append(f"a{n}: &a{n} {item % ', '.join([f'*a{n - 1}'] * 10)}")
    return "\n".join(lines)


HOSTILE = {
    "lists": ("models: " + "[" * 5000 + "]" * 5000, "row 1: is nested deeper than 50 levels"),
    "mappings": ("models: " + "{a: " * 5000, "row 1: is nested deeper than 50 levels"),
    "blocks": (
        "".join(" " * n + "a:\n" for n in range(500)), "row 50: is nested deeper than 50 levels",
    ),
    "digits": (GOOD.replace("[0]", f"[{'9' * 5000}]"), "row 4: '9999"),
    "hex digits": (
        GOOD.replace("[0]", f"[0x{'f' * 5000}]"), "seeds: an integer of more than 18 digits",
    ),
    "65 bits": (GOOD.replace("[0]", f"[{2**64}]"), "seeds: an integer of more than 18 digits"),
    "aliases": (aliases(9, "[x]", "[%s]"), "more than 100,000 values, with those of aliases"),
    "merges": (aliases(9, "{x: 1}", "{<<: [%s]}"), "more than 100,000 values, with those"),
    "cycle": ("a: &a [*a]", "row 1: an alias repeats itself"),
    "keys": (GOOD + "".join(f"k{n}: 1\n" for n in range(30_000)), "and 29,980 more"),
    "a long value": (GOOD + f"packing: {'a' * 900_000}", "should be 'off' or 'auto' (got 'aaaa"),
    "a date": (GOOD + "title: 2022-13-45", "row 5: '2022-13-45' is no timestamp: month must be"),
    "a tag": (GOOD + "title: !!bool x", "row 5: 'x' is no bool"),
    "code": (GOOD + "title: !!python/object/apply:os.system [x]", "row 5: could not determine"),
    "\\0": (GOOD + 'storage: {results: "a\\0b"}', r"row 5: a text holds \0 or half of a surrog"),
    "surrogate": (GOOD + 'title: "\\ud800"', r"row 5: a text holds \0 or half of a surrogate"),
    "NUL": (GOOD + "title: a\0b", "is not YAML: unacceptable character #x0000"),
    "infinite": (
        GOOD + "training: {weight_decay: .inf}", "should be a finite number (got inf)",
    ),
    "list key": (GOOD + "{[a]: b}: c", "row 5: found unhashable key"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error_soon(name: str) -> None:
    text, problem = HOSTILE[name]
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        Experiment.from_yaml(text, "my.yaml")
    told = str(caught.value)
    assert problem in told and told.startswith("my.yaml: ")
    assert len(told) < 20_000
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # KB


def test_values_up_to_the_limits_are_read() -> None:
    deep = MAX_DEPTH - 1
    assert parse_settings(f"a: {'[' * (deep - 1)}1{']' * (deep - 1)}", "f")
    few = MAX_VALUES // 10
    assert parse_settings(f"a: [{'1, ' * few}]", "f") == {"a": [1] * few}
    # Each repetition counts: the list of few values may be repeated nine times, not ten.
    line = f"a: &a [{'1, ' * (few - 10)}]\nb: [%s]"
    assert parse_settings(line % ", ".join(["*a"] * 8), "f")["b"][0] == [1] * (few - 10)
    with pytest.raises(InputError, match="row 2: more than 100,000 values"):
        parse_settings(line % ", ".join(["*a"] * 10), "f")


def test_keys_may_be_merged() -> None:
    text = "a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}"
    assert parse_settings(text, "f")["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "folder", "large", "latin"])
def test_what_is_no_text_file_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "large":
        with file.open("wb") as stream:
            stream.truncate(100 * MAX_BYTES)
    elif kind == "latin":
        file.write_bytes("title: é".encode("latin-1"))
    else:
        file.symlink_to(kind)
    problem = {
        "folder": "cannot be read: Is a directory",
        "large": "is larger than 1 MiB, so it holds no settings",
        "latin": "is not UTF-8 at byte 7",
    }.get(kind, "cannot be read: a pipe, socket or device, not a file")
    with pytest.raises(InputError, match=problem):
        load_experiment(file)
    assert main(["plan", str(file)]) == BAD_INPUT
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "&a [*a]", "2022-13-45"])
def test_a_hostile_setting_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"--set .*: the value is not YAML: "):
        parse_settings(GOOD, "f", [f"title={value}"])
