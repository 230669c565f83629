"""Measure the audit of a data set: CPU seconds and peak memory of each check on many headlines.

    python benchmarks/audit.py [--rows 1000000] [--usual] [--plan]

Half of the headlines are English and half Japanese. They are drawn from the phrasebook and made
unique by a name and a number; one row in a hundred is a near duplicate. Each check runs in a
process forked from the one that holds the rows, so that its peak is its own. With --usual the
candidates of near duplicates are also searched in the usual way, by datasketch with as many hashes
and bands. With --plan, `xlt plan` of an experiment on a Parquet file with these rows is measured
instead, with an empty cache of findings. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.audit.near_duplicates import NUM_BANDS, NUM_HASHES, NUM_HASHES_A_BAND, signatures
from xlt.data.audit.registry import CHECKS, audit
from xlt.data.audit.used_rows import UsedRows
from xlt.data.corpora.phrases import load_phrasebook
from xlt.data.dataset.draws import draw
from xlt.data.dataset.patterns import Sampling, parse_pattern_name
from xlt.data.dataset.schema import Dataset, text_key
from xlt.data.sources.synthetic import DAYS

NAMES = {
    "en": [
        a + b for a in ("Ar", "Bel", "Cor", "Dun", "Ela") for b in ("don", "mira", "tek", "via")
    ],
    "ja": [a + b for a in ("東", "北", "大", "新", "光") for b in ("和", "栄", "山", "工業")],
}


def main() -> None:
    """Generate the rows, then measure one check after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--usual", action="store_true")
    parser.add_argument("--plan", action="store_true")
    options = parser.parse_args()
    dataset = generate(options.rows)
    if options.plan:
        measure_plan(dataset)
        return
    start = time.process_time()
    patterns = [parse_pattern_name(name) for name in ("ja0", "ja16", "ja104")]
    used_rows = UsedRows(tuple(draw(dataset, "en", p, Sampling()) for p in patterns))
    print(f"{options.rows} rows, drawn in {time.process_time() - start:.1f} s of CPU", flush=True)
    print("\n| check | CPU seconds | peak MB above the rows | findings |\n|---|---|---|---|")
    context = multiprocessing.get_context("fork")
    total = 0.0
    for name in CHECKS:
        ours, theirs = context.Pipe()
        process = context.Process(target=measure, args=(dataset, used_rows, name, theirs))
        process.start()
        seconds, memory, counts = ours.recv()
        process.join()
        total += seconds
        print(f"| {name} | {seconds:.1f} | {memory:.0f} | {counts} |", flush=True)
    print(f"| all | {total:.1f} | | |")
    if options.usual:
        seconds = {name: timed(find, dataset) for name, find in CANDIDATES.items()}
        print("\n| candidates of near duplicates | seconds |\n|---|---|")
        for name, elapsed in seconds.items():
            print(f"| {name} | {elapsed:.1f} |")


def measure_plan(dataset: Dataset) -> None:
    """Print CPU seconds and peak MB of `xlt plan`."""
    with tempfile.TemporaryDirectory() as folder:
        rows, file = Path(folder) / "rows.parquet", Path(folder) / "large.yaml"
        pq.write_table(dataset.table, rows)
        data = {"source": "table", "path": str(rows), "positive": [1], "negative": [0]}
        values = {
            "name": "large",
            "task": {"positive": "ESG", "source_lang": "en"},
            "data": data,
            "models": ["mini-mbert", "mini-bert-ja"],
            "patterns": ["ja0", "ja16", "ja104"],
            "seeds": [0, 1, 2],
            "storage": {"results": f"{folder}/results"},
        }
        file.write_text(json.dumps(values))
        process = subprocess.Popen(
            [sys.executable, "-m", "xlt", "plan", str(file)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "XLT_CACHE": f"{folder}/cache"},
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("xlt plan failed")
    print("| command | rows | CPU s | peak MB |\n|---|---|---|---|")
    seconds, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"| `xlt plan` | {len(dataset.table):,} | {seconds:.1f} | {memory:.0f} |")


def generate(num_rows: int) -> Dataset:
    """Generate headlines with unique texts, except for the near duplicates."""
    rng, book = random.Random(0), load_phrasebook()
    topics = sorted(book.topics)
    texts, langs, labels = list[str](), list[str](), list[int]()
    for number in range(num_rows):
        lang = ("en", "ja")[number % 2]
        topic = rng.choice(topics)
        text = f"{rng.choice(NAMES[lang])} {rng.randrange(10**6)}: "
        text += book.draw(rng, topic).text(lang)
        label = int(topic in book.positive_topics)
        if number >= 200 and not rng.randrange(100):
            text, label = f"{texts[-100]}.", labels[-100]
        texts.append(text)
        langs.append(lang)
        labels.append(label)
    columns = {
        "id": [f"row-{number}" for number in range(num_rows)],
        "text": texts,
        "lang": langs,
        "label": labels,
        "published": [rng.choice(DAYS) for _ in texts],
        "source": ["benchmark"] * num_rows,
    }
    return Dataset.from_table(pa.table(columns))


def candidates(dataset: Dataset) -> None:
    """Make signatures and buckets of every text, as the check does."""
    signatures([text_key(text) for text in dataset.table["text"].to_pylist()])


def candidates_by_datasketch(dataset: Dataset) -> None:
    """Find the same candidates with datasketch."""
    from datasketch import MinHash, MinHashLSH

    keys = [f" {text_key(text)} " for text in dataset.table["text"].to_pylist()]
    grams = [{key[n : n + 3].encode() for n in range(len(key) - 2)} for key in keys]
    index = MinHashLSH(params=(NUM_BANDS, NUM_HASHES_A_BAND), num_perm=NUM_HASHES)
    for number, minhash in enumerate(MinHash.bulk(grams, num_perm=NUM_HASHES)):
        index.insert(number, minhash)


CANDIDATES = {"ours": candidates, "datasketch": candidates_by_datasketch}


def timed(find: Callable[[Dataset], None], dataset: Dataset) -> float:
    """Return the wall time of a call in seconds."""
    start = time.perf_counter()
    find(dataset)
    return time.perf_counter() - start


def measure(dataset: Dataset, used_rows: UsedRows, name: str, out: Connection) -> None:
    """Send the CPU seconds, peak MB and numbers of findings by severity of a check."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    findings = audit(dataset, used_rows, [name])
    seconds = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    counts = ", ".join(f"{finding.severity} {finding.count}" for finding in findings) or "none"
    out.send((seconds, memory, counts))


if __name__ == "__main__":
    main()
