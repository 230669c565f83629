"""A synthetic Reuters archive in the layout of the real one, for benchmarks/mrn_archive.py.

It has monthly files of both generations (two months in both), stories with alerts, updates,
corrections and second takes, recurring headlines, and damaged lines. Headlines are sentences of the
built-in phrasebook, and the subject codes name their topic. Equal arguments give equal bytes.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from xlt.data.core.seeds import derive_seed
from xlt.data.corpora.phrases import Phrasebook, load_phrasebook

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
