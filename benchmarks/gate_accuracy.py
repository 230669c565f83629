"""Measure the accuracy of the data audit: false alarms and recall on built-in and own headlines.

    python benchmarks/gate_accuracy.py [SOURCE.yaml ...]

A source's file is one that `xlt data show` takes, with English and Japanese rows. Their language
codes count as correct. Then every tenth row of a language gets the code of the other language, and
every English row gets the code of a related language, and the detected rows are counted. Prints
Markdown.
"""

from __future__ import annotations

import argparse
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.audit.cues import auroc, features
from xlt.data.audit.language import misread
from xlt.data.audit.registry import audit
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.registry import load_dataset, parse_source
from xlt.sweep.experiment.settings_file import read_settings

RELATED = ("de", "fr")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", metavar="SOURCE.yaml")
    options = parser.parse_args()
    print("| data | what | measured |\n|---|---|---|")
    named = {"built-in": {"source": "synthetic"}}
    named |= {path: read_settings(path) for path in options.sources}
    for name, values in named.items():
        for measure, value in measure_all(load_dataset(parse_source(values))):
            print(f"| {name} | {measure} | {value} |", flush=True)


def measure_all(dataset: Dataset) -> list[tuple[str, str]]:
    """Return names and values of all measures."""
    table = dataset.table
    langs = table["lang"].to_numpy(zero_copy_only=False).astype(object)
    rows = []
    for lang, other in (("en", "ja"), ("ja", "en")):
        own = np.nonzero(langs == lang)[0]
        false = len(find_misread(dataset, langs) & set(ids_of(table, own)))
        rows.append((f"language: correct {lang} rows reported", f"{false} of {len(own):,}"))
        swapped = own[::10]
        claims = langs.copy()
        claims[swapped] = other
        right = len(find_misread(dataset, claims) & set(ids_of(table, swapped)))
        rows.append(
            (f"language: {lang} rows under {other}, every tenth", f"{right} of {len(swapped)}")
        )
    english = np.nonzero(langs == "en")[0]
    for related in RELATED:
        claims = langs.copy()
        claims[english] = related
        right = len(find_misread(dataset, claims) & set(ids_of(table, english)))
        rows.append((f"language: en rows under {related}", f"{right / len(english):.1%}"))
    for lang in ("en", "ja"):
        part = table.filter(pc.equal(table["lang"], lang))
        cues = features(part.select(["id", "text", "published", "source"]).to_pydict())
        y_true = part["label"].to_numpy().astype(np.int64)
        without = {name: values for name, values in cues.items() if name != "text length"}
        both = [
            auroc([list(chain(*p)) for p in zip(*kinds.values(), strict=True)], y_true)
            for kinds in (cues, without)
        ]
        measure = f"cues: AUROC of {lang}, all / without text length"
        rows.append((measure, f"{both[0]:.2f} / {both[1]:.2f}"))
    near = [f.count for f in audit(dataset, checks=["near_duplicates"])]
    rows.append(("near_duplicates: rows reported", f"{sum(near)} of {len(table):,}"))
    return rows


def find_misread(dataset: Dataset, langs: np.ndarray) -> set[str]:
    """Return the ids of the rows that the language check reports for these language codes."""
    columns = dataset.table.select(["id", "text"]).to_pydict() | {"lang": langs.tolist()}
    ids_by_lang = misread(columns, set(langs.tolist()))
    return {row_id for rows in ids_by_lang.values() for row_id in rows}


def ids_of(table: pa.Table, rows: np.ndarray) -> list[str]:
    """Return the ids of rows by number."""
    ids: list[str] = table["id"].take(pa.array(rows)).to_pylist()
    return ids


if __name__ == "__main__":
    main()
