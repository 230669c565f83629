"""Random damage to files, and whether a command held: its numbers are right, or it said why not."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

SEED = int(os.environ.get("XLT_ATTACK_SEED", "0"))
"""Seed of all random choices; the same seed makes the same cases."""
NUM_CASES = int(os.environ.get("XLT_ATTACK_CASES", "160"))
"""Number of damaged files."""
MOST_SECONDS = 120
"""Seconds after which a command counts as hanging."""
HOSTILE = (
    "1e400", "-1", "null", "true", '"\\u001b[31m"', '"=1+1"', "[" * 200 + "]" * 200, '""',
    "18446744073709551616", '"../../../etc/passwd"', "{}", "0.5", '"' + "x" * 5000 + '"',
)  # fmt: skip
"""Values that stand for another one in JSON and YAML."""


def flip_bit(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def zero(content: bytes, rng: random.Random) -> bytes:
    place, num = rng.randrange(len(content)), rng.randrange(1, 64)
    return content[:place] + bytes(min(num, len(content) - place)) + content[place + num :]


def replace_value(content: bytes, rng: random.Random) -> bytes:
    """Put a hostile value in the place of one after a colon; other files get noise."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return rng.randbytes(rng.randrange(1, 2000))
    found = list(re.finditer(r"(?<=: )[^\n,{}\[\]]+|(?<=\":)[^\n,{}\[\]]+", text))
    if not found:
        return rng.randbytes(rng.randrange(1, 2000))
    match = rng.choice(found)
    return (text[: match.start()] + rng.choice(HOSTILE) + text[match.end() :]).encode()


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": flip_bit, "cut": cut, "zero": zero, "value": replace_value,
}  # fmt: skip
KINDS = (*CHANGES, "flip", "value", "missing", "folder", "link", "pipe", "other")
"""Names of damages, as often as they are drawn."""


def damage(file: Path, kind: str, others: Sequence[Path], rng: random.Random) -> None:
    """Damage a file in a way of :data:`KINDS`."""
    content = file.read_bytes() or b"\n"
    file.unlink()
    match kind:
        case "missing":
            pass
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "link":
            file.symlink_to("/etc/hostname")
        case "other":
            file.write_bytes(rng.choice(others).read_bytes())
        case _:
            file.write_bytes(CHANGES[kind](content, rng))


@dataclass
class Report:
    """Numbers of cases that were tried and that fell, by the kind of file.

    Attributes:
        tried: Cases by kind of file.
        refused: Cases that a command refused (exit status 2), and checkpoints left aside.
        fell: Cases that fell, with the way to repeat them.
    """

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    fell: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, case: str, fault: str, is_refused: bool) -> None:
        """Count a case."""
        self.tried[kind] += 1
        self.refused[kind] += is_refused
        if fault:
            self.fell.append((kind, f"{case}: {fault}"))

    def write(self) -> str:
        """Write a table in Markdown, and the cases that fell."""
        fell = Counter(kind for kind, _ in self.fell)
        lines = ["| file | tried | refused | fell |", "|---|---|---|---|"]
        lines += [
            f"| {kind} | {self.tried[kind]} | {self.refused[kind]} | {fell[kind]} |"
            for kind in sorted(self.tried)
        ]
        total = sum(self.tried.values()), sum(self.refused.values()), len(self.fell)
        lines.append(f"| all | {' | '.join(map(str, total))} |")
        return "\n".join([*lines, *(f"- {case}" for _, case in self.fell)])


@dataclass(frozen=True)
class Outcome:
    """Exit status and text of a command; ``fault`` says why it fell by itself."""

    status: int
    text: str
    fault: str = ""


def run_command(
    main: Callable[[list[str]], int], command: list[str], read: Callable[[], str]
) -> Outcome:
    """Run a command in this process; it must end with a known status and without a traceback."""
    try:
        with time_limit():
            status = main(command)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(-1, read(), f"{type(error).__name__} in {last.name}: {str(error)[:200]}")
    text = read()
    if status not in (0, 1, 2, 3):
        return Outcome(status, text, f"exit status {status}")
    return Outcome(status, text, "a traceback" if "Traceback (most" in text else "")


class TooLongError(Exception):
    """A command did not end in time."""


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"still running after {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def copy_tree(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def same_numbers(csv_text: str, expected: str) -> bool:
    """Whether each mean of a report in csv over as many runs as before is the one before.

    A report without any such mean is not the same.
    """
    with suppress(ValueError, IndexError, KeyError):
        found, before = parse_means(csv_text), parse_means(expected)
        same = [before[key] == value for key, value in found.items() if key in before]
        return bool(same) and all(same)
    return False


def parse_means(text: str) -> dict[tuple[str, ...], str]:
    """(base model, pattern, metric, number of runs) -> mean of a report in csv."""
    import csv

    names = "base_model", "pattern", "metric", "n"
    return {
        tuple(row[name] for name in names): row["mean"] for row in csv.DictReader(text.splitlines())
    }


def as_case(file: str, kind: str, command: Sequence[str], number: int) -> str:
    """Name a case so that it can be repeated."""
    return json.dumps({"seed": SEED, "case": number, "file": file, "damage": kind,
                       "command": command[0]})  # fmt: skip
