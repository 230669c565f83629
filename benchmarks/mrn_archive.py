"""Measure the time and memory of reading a Reuters archive, next to the usual ways.

    python benchmarks/mrn_archive.py generate FOLDER --mb 300
    python benchmarks/mrn_archive.py measure FOLDER

`generate` writes a synthetic archive in the layout of the real one: monthly files of both
generations (two months in both), stories with alerts, updates, corrections and second takes,
recurring headlines, and damaged lines. Headlines are sentences of the built-in phrasebook, and the
subject codes name their topic. Equal arguments give equal bytes.

`measure` reads it in new processes, one after another: ours in one process (also without keeping
rows, for the memory of reading alone) and on all cores, `json.loads` on every line, `json.load` on
every file (which fails on damaged lines: generate with `--damage 0`), and unpacking alone. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.phrases import Phrasebook, load_phrasebook
from xlt.data.sources.mrn.files import find_archive_files
from xlt.data.sources.mrn.read import num_cores, read_parallel
from xlt.data.sources.mrn.source import Options, read

MONTHS = [f"{2021 + n // 12}-{n % 12 + 1:02d}" for n in range(3, 22)]  # 2021-04 to 2022-10
TWICE = MONTHS[:2]
"""Months that the older generation has too."""
ENVIRONMENT = {"climate", "clean_energy", "nature", "pollution", "waste"}
GOVERNANCE = {"board", "disclosure", "ethics", "stewardship"}
POSITIVE = ["N2:ESGENV", "N2:ESGGOV", "N2:ESGSOC"]
JAPANESE_SHARE, POSITIVE_SHARE, WRONG_TAG_SHARE = 0.3, 0.35, 0.04
SENTENCES = 400
"""Number of sentences per topic and language from which bodies are composed."""
RECURRING = ["DIARY - {}", "TABLE-{}", "BUZZ-{}", "TOP NEWS - {}"]


def main() -> None:
    """Generate or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    generating = commands.add_parser("generate")
    generating.add_argument("folder", type=Path)
    generating.add_argument(
        "--mb", type=int, default=300, help="size of all files as unpacked JSON"
    )
    generating.add_argument("--seed", type=int, default=0)
    generating.add_argument("--damage", type=float, default=0.0005, help="share of damaged lines")
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder")
    measuring.add_argument("--stage", choices=STAGES, help="run one way in this process")
    options = parser.parse_args()
    if options.command == "generate":
        generate(options.folder, options.mb * 1_000_000, options.seed, options.damage)
    elif options.stage:
        print(json.dumps(measure(options.stage, options.folder)))
    else:
        show(options.folder)


def generate(folder: Path, num_bytes: int, seed: int, damage: float) -> None:
    """Write the files: the newer generation gzipped in a folder per year, the older one as text.

    Args:
        folder: Output folder, which is created if needed.
        num_bytes: Unpacked size of all files.
        seed: Root seed.
        damage: Share of lines that are cut, not UTF-8 or without a field.
    """
    book = load_phrasebook()
    for month in MONTHS:
        rng = random.Random(derive_seed(seed, "mrn", month))
        lines = list(month_lines(book, rng, month, num_bytes // (len(MONTHS) + len(TWICE))))
        for number in range(len(lines)):
            if rng.random() < damage:
                lines[number] = damage_line(rng, lines[number])
        first = date.fromisoformat(f"{month}-01")
        following = (first + timedelta(31)).replace(day=1)
        header = {
            "RIC": "MRN_STORY", "Start": f"{first}T00:00:00.000Z",
            "End": f"{following}T00:00:00.000Z", "Created": f"{following}T06:00:00.000Z",
            "MajorVersion": "2", "MinorVersion": "14",
        }  # fmt: skip
        head = json.dumps(header)[:-1].encode() + b', "Items":[\n'
        content = head + b",\n".join(lines) + b"\n]}\n"
        year = folder / month[:4]
        year.mkdir(parents=True, exist_ok=True)
        packed = gzip.compress(content, 6, mtime=0)
        (year / f"STORY.RTRS.{month}.REC.JSON.txt.gz").write_bytes(packed)
        if month in TWICE:
            name = f"News.RTRS.{month.replace('-', '')}.0214.txt"
            (year / name).write_bytes(content)
        print(month, len(lines), "items", len(content) // 1_000_000, "MB", file=sys.stderr)


def month_lines(
    book: Phrasebook, rng: random.Random, month: str, num_bytes: int
) -> Iterator[bytes]:
    """Make the items of a month as JSON lines, of at least ``num_bytes`` together."""
    pools = {
        (topic, lang): [book.draw(rng, topic).text(lang) for _ in range(SENTENCES)]
        for topic in sorted(book.topics)
        for lang in ("en", "ja")
    }
    positive = sorted(book.positive_topics)
    others = sorted({*book.topics} - book.positive_topics)
    first = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    number = 0
    while num_bytes > 0:
        number += 1
        lang = "ja" if rng.random() < JAPANESE_SHARE else "en"
        topic = rng.choice(positive if rng.random() < POSITIVE_SHARE else others)
        tagged = topic if rng.random() >= WRONG_TAG_SHARE else rng.choice(sorted(book.topics))
        # Not in the last days of a month, so that all versions are in the same month.
        moment = first + timedelta(seconds=rng.randrange(27 * 86400))
        story = f"{month.replace('-', '')}{number:07d}"
        headline = book.draw(rng, topic).text(lang)
        created = stamp(moment)
        for serial, (text, has_body, take, urgency, status) in enumerate(
            story_items(rng, headline, lang)
        ):
            moment += timedelta(seconds=rng.randrange(30, 3000))
            body = body_text(rng, pools[topic, lang], lang, moment) if has_body else ""
            line = item_line(
                f"{story}_{serial}{rng.getrandbits(160):040X}", f"n{story}", text, body, lang,
                subject_codes(rng, tagged, lang), take, urgency, status, created, stamp(moment),
            )  # fmt: skip
            num_bytes -= len(line) + 2
            yield line


def story_items(
    rng: random.Random, headline: str, lang: str
) -> Iterator[tuple[str, bool, int, int, str]]:
    """Make headline, whether a body follows, take, urgency and status of each item of a story."""
    if rng.random() < 0.05:
        yield rng.choice(RECURRING).format(headline), True, 1, 3, "stat:usable"
        return
    if lang == "en" and rng.random() < 0.35:
        yield headline.upper(), False, 1, 1, "stat:usable"
    yield headline, True, 1, 3, "stat:usable"
    if rng.random() < 0.1:
        yield headline, True, 2, 3, "stat:usable"
    if rng.random() < 0.35:
        yield f"UPDATE 1-{headline}" if lang == "en" else headline, True, 1, 3, "stat:usable"
    if rng.random() < 0.03:
        mark = "CORRECTED-" if lang == "en" else "訂正："
        yield mark + headline, True, 1, 3, "stat:usable"
    if rng.random() < 0.01:
        yield headline, True, 1, 3, "stat:canceled"


def subject_codes(rng: random.Random, topic: str, lang: str) -> list[str]:
    """Make random codes of instruments and companies, and the codes of language and topic."""
    codes = [f"R:{rng.randrange(3000):04d}.T", f"P:{4295860000 + rng.randrange(3000)}"]
    codes += rng.sample([f"B:{number}" for number in range(1, 200)], 4)
    codes += ["M:1QD", "G:3", "N2:RTRS", f"N2:L{lang.upper()}", f"N2:{topic.upper()}"]
    if topic in load_phrasebook().positive_topics:
        number = 0 if topic in ENVIRONMENT else 1 if topic in GOVERNANCE else 2
        codes.append(POSITIVE[number])
    return codes


def body_text(rng: random.Random, sentences: list[str], lang: str, moment: datetime) -> str:
    """Make 1 to 4 KB of sentences about the topic of a headline, in lines like the wire's."""
    length = rng.randrange(1000, 4000) // (3 if lang == "ja" else 1)  # in characters
    place = f"[東京　{moment.day}日　作例]" if lang == "ja" else f"LONDON, {moment:%b} {moment.day}"
    text = f"{place} - "
    while len(text) < length:
        text += rng.choice(sentences) + ("。\r\n" if lang == "ja" else ".\r\n")
    return text


def item_line(
    guid: str, story: str, headline: str, body: str, lang: str, subjects: list[str],
    take: int, urgency: int, status: str, first_created: str, version_created: str,
) -> bytes:  # fmt: skip
    """Make an item as the archive writes it."""
    data = {
        "altId": story, "audiences": ["NP:E", "NP:RNP"], "body": body,
        "firstCreated": first_created, "headline": headline, "id": guid, "instancesOf": [],
        "language": lang, "messageType": 2 if body else 1, "mimeType": "text/plain",
        "provider": "NS:RTRS", "pubStatus": status, "subjects": subjects, "takeSequence": take,
        "urgency": urgency, "versionCreated": version_created,
    }  # fmt: skip
    recorded = [{"name": "recorded", "timestamp": version_created}]
    item = {"guid": guid, "timestamps": recorded, "data": data}
    return json.dumps(item, ensure_ascii=False).encode()


def stamp(moment: datetime) -> str:
    """Format a time as the archive writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def damage_line(rng: random.Random, line: bytes) -> bytes:
    """Damage a line: cut it, make it invalid UTF-8, or remove its headline."""
    half = len(line) // 2
    ways = [line[:half], line[:half] + b"\xff" + line[half:], line.replace(b'"headline"', b'"h"')]
    return rng.choice(ways)


def ours(folder: str, num_workers: int) -> str:
    """Read with our reader, and describe the result."""
    values = {"source": "mrn", "path": folder, "positive": POSITIVE}
    read_files = partial(read_parallel, num_workers=num_workers)
    reading = read(Options.parse(values), lambda done, in_all: None, read_files)
    return f"{len(reading.dataset.table)} rows of {reading.num_read}"


def none_kept(folder: str) -> str:
    """Read with our reader in a language without rows, to exclude the memory of kept rows.

    The reader raises an error at the end, because no rows are left.
    """
    values = {"source": "mrn", "path": folder, "positive": POSITIVE, "languages": ["fr"]}
    try:
        read(
            Options.parse(values),
            lambda done, in_all: None,
            partial(read_parallel, num_workers=1),
        )
    except InputError as error:
        return f"refused: {error.problems[0]}"
    return "not refused"


def unpacked(folder: str) -> str:
    """Unpack every byte, without parsing."""
    files = find_archive_files([folder])
    return f"{sum(len(b) for file in files for b in file.blocks(lambda num: None))} bytes"


def each_file(folder: str) -> Iterator[Any]:
    """Open each file as text."""
    for file in find_archive_files([folder]):
        opener = gzip.open if file.path.endswith(".gz") else open
        with opener(file.path, "rt", encoding="utf-8", errors="replace") as stream:
            yield stream


def by_line(folder: str) -> str:
    """Parse every line with json.loads, and keep headlines, languages and codes."""
    rows = []
    for stream in each_file(folder):
        for line in stream:
            try:
                data = json.loads(line.rstrip().rstrip(","))["data"]
                rows.append((data["headline"], data["language"], data["subjects"]))
            except (ValueError, KeyError):
                continue
    return f"{len(rows)} items"


def by_file(folder: str) -> str:
    """Parse every file with json.load, and keep headlines, languages and codes."""
    rows, num_failed = [], 0
    for stream in each_file(folder):
        try:
            items = [item["data"] for item in json.load(stream)["Items"]]
            rows += [(data["headline"], data["language"], data["subjects"]) for data in items]
        except (ValueError, KeyError):
            num_failed += 1
    return f"{len(rows)} items, {num_failed} files failed"


STAGES = {
    "unpacking alone": unpacked,
    "ours, 1 process, no row kept": none_kept,
    "ours, 1 process": lambda folder: ours(folder, 1),
    "ours, all cores": lambda folder: ours(folder, num_cores()),
    "json.loads a line": by_line,
    "json.load a file": by_file,
}


def measure(stage: str, folder: str) -> dict[str, Any]:
    """Return wall and CPU seconds, peak MB of the largest process, and the result of one way."""
    start, cpu = time.perf_counter(), time.process_time()
    result = STAGES[stage](folder)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu += workers.ru_utime + workers.ru_stime
    peak = max(own.ru_maxrss, workers.ru_maxrss) / 1000
    return {"wall": wall, "cpu": cpu, "peak": peak, "result": result}


def show(folder: str) -> None:
    """Run every way and print the table."""
    print(f"{date.today()}, {platform.machine()}, {num_cores()} cores\n")
    print("| way | s | CPU s | MB of JSON / CPU s | peak MB | found |\n|---|---|---|---|---|---|")
    num_bytes = 0
    for stage in STAGES:
        command = [sys.executable, __file__, "measure", folder, "--stage", stage]
        measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        num_bytes = num_bytes or int(measured["result"].split()[0])
        rate = num_bytes / 1e6 / measured["cpu"]
        print(f"| {stage} | {measured['wall']:.1f} | {measured['cpu']:.1f} | {rate:.0f} | ", end="")
        print(f"{measured['peak']:.0f} | {measured['result']} |", flush=True)


if __name__ == "__main__":
    main()
