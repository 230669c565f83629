"""Measure false alarms and recall of the data audit on the built-in headlines and on yours.

    python benchmarks/gate_accuracy.py [SOURCE.yaml ...]

SOURCE.yaml is a file that `xlt data show` takes, in English and Japanese. The languages of its rows
count as correct. Then every tenth row of a language gets the other's code, and every English row
that of a related language. Counts how many of these the audit reports. Prints Markdown.
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
        for what, measured in measures(load_dataset(parse_source(values))):
            print(f"| {name} | {what} | {measured} |", flush=True)


def measures(dataset: Dataset) -> list[tuple[str, str]]:
    """Name and value of each measured figure."""
    table = dataset.table
    langs = table["lang"].to_numpy(zero_copy_only=False).astype(object)
    rows = []
    for lang, other in (("en", "ja"), ("ja", "en")):
        own = np.nonzero(langs == lang)[0]
        false = len(reported_ids(dataset, langs) & set(ids_of(table, own)))
        rows.append((f"language: correct {lang} rows reported", f"{false} of {len(own):,}"))
        swapped = own[::10]
        claims = langs.copy()
        claims[swapped] = other
        right = len(reported_ids(dataset, claims) & set(ids_of(table, swapped)))
        rows.append(
            (f"language: {lang} rows under {other}, every tenth", f"{right} of {len(swapped)}")
        )
    english = np.nonzero(langs == "en")[0]
    for related in RELATED:
        claims = langs.copy()
        claims[english] = related
        right = len(reported_ids(dataset, claims) & set(ids_of(table, english)))
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
        what = f"cues: AUROC of {lang}, all / without text length"
        rows.append((what, f"{both[0]:.2f} / {both[1]:.2f}"))
    near = [f.count for f in audit(dataset, checks=["near_duplicates"])]
    rows.append(("near_duplicates: rows reported", f"{sum(near)} of {len(table):,}"))
    return rows


def reported_ids(dataset: Dataset, langs: np.ndarray) -> set[str]:
    """Ids of the rows that the language check reports if they have these language codes."""
    columns = dataset.table.select(["id", "text"]).to_pydict() | {"lang": langs.tolist()}
    reported = misread(columns, set(langs.tolist()))
    return {row_id for rows in reported.values() for row_id in rows}


def ids_of(table: pa.Table, rows: np.ndarray) -> list[str]:
    """Ids of rows by number."""
    return table["id"].take(pa.array(rows)).to_pylist()


if __name__ == "__main__":
    main()
