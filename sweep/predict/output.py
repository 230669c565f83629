"""Write the output of `xlt predict` as csv, jsonl or Parquet, and the rejected rows beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from xlt.data.core.errors import InputError, unknown
from xlt.data.tables.csv_text import csv_rows
from xlt.sweep.predict.chunks import KEPT
from xlt.sweep.predict.parts import Output
from xlt.sweep.predict.threshold import Threshold

GROUP = 64
"""Number of chunks in a row group of a Parquet file, or in a file of a folder."""
REJECTED_SUFFIX = ".rejected.csv"


@dataclass
class Counts:
    """Numbers of tagged and rejected rows.

    Attributes:
        num_rows: Rows of the input.
        labels: Name of each class -> number of rows with this label.
        rejected: Reason -> number of rows without a label.
        num_truncated: Number of tagged rows with more tokens than the trial's ``max_length``.
        threshold: Smallest score of class 1; None with more than two classes.
    """

    num_rows: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    num_truncated: int = 0
    threshold: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Counts as JSON values, for the record beside the output."""
        return asdict(self)


def find_output_format(name: str) -> str:
    """Format of an output, a key of :data:`WRITERS`, from the ending of its name.

    Raises:
        InputError: The ending is unknown.
    """
    suffix = "/" if name.endswith("/") else "." + name.rpartition(".")[2]
    if suffix not in WRITERS:
        raise InputError(
            unknown("ending", suffix if "." in name else name, WRITERS)
            + " A name that ends with / is a folder of Parquet files.",
            "--out",
        )
    return suffix


def write_output(
    output: Output,
    name: str,
    tables: Callable[[], Iterator[pa.Table]],
    classes: Sequence[str],
    threshold: Threshold,
    class_scores: bool,
) -> Counts:
    """Write the output and, if there are rejected rows, a file of them beside it.

    Args:
        output: Folder of the output.
        name: Name of the output; its ending is a key of :data:`WRITERS`.
        tables: Function that yields the tagged chunks in order; it is called several times.
        classes: Name of each class.
        threshold: Threshold, for two classes.
        class_scores: Whether to write a column with the probability of each class.

    Raises:
        InputError: No row has a score.
    """
    counts, has_lang = _count(tables(), classes, threshold)
    _write_rejected(output, name.rstrip("/") + REJECTED_SUFFIX, tables(), counts)
    written = (_output_table(table, counts, classes, class_scores, has_lang) for table in tables())
    groups = map(pa.concat_tables, iter(lambda: list(islice(written, GROUP)), []))
    WRITERS[find_output_format(name)](output, name.rstrip("/"), groups)
    return counts


def _count(
    tables: Iterable[pa.Table], classes: Sequence[str], threshold: Threshold
) -> tuple[Counts, bool]:
    """Count everything except labels, and report whether any row has a language."""
    counts, rejected, has_lang = Counts(), Counter[str](), False
    scores = []
    for table in tables:
        counts.num_rows += len(table)
        counts.num_truncated += int(np.count_nonzero(table["truncated"].to_numpy()))
        rejected.update(p.partition(":")[0] for p in table["problem"].to_pylist() if p)
        has_lang |= table["lang"].null_count < len(table)
        if len(classes) == 2 and threshold.value is None:
            scores.append(table["y_score"].drop_null().to_numpy())
    counts.rejected = dict(sorted(rejected.items()))
    counts.labels = dict.fromkeys(classes, 0)
    if counts.num_rows == rejected.total():
        reasons = [f"{number} rows: {reason}" for reason, number in counts.rejected.items()]
        problem = f"none of {counts.num_rows} rows can be tagged; correct the input"
        raise InputError([problem, *reasons])
    if len(classes) == 2:
        counts.threshold = threshold.compute(np.concatenate(scores) if scores else np.empty(0))
    return counts, has_lang


def _write_rejected(output: Output, name: str, tables: Iterable[pa.Table], counts: Counts) -> None:
    if not counts.rejected:
        return
    columns = ["file", "row", "id", "problem"]
    with output.writing(name) as stream:
        stream.write(b"file,row,id,reason\n")
        for table in tables:
            rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
            stream.write(csv_rows(row for row in rows if row[-1]).encode())


def _output_table(
    table: pa.Table,
    counts: Counts,
    classes: Sequence[str],
    class_scores: bool,
    has_lang: bool,
) -> pa.Table:
    """Build the output columns of a tagged chunk, and count its labels."""
    tagged = table.filter(table["y_score"].is_valid())
    scores = tagged["y_score"]
    if counts.threshold is not None:
        positive: NDArray[np.float64] = scores.to_numpy()
        class_score = np.stack([1 - positive, positive], axis=1)
        labels = (positive >= counts.threshold).astype(np.intp)
        score = positive
    else:
        flat = scores.combine_chunks().flatten().to_numpy()
        class_score = flat.reshape(-1, len(classes))
        labels = class_score.argmax(axis=1)
        score = class_score.max(axis=1, initial=0.0)
    for number, count in enumerate(np.bincount(labels, minlength=len(classes))):
        counts.labels[classes[number]] += int(count)
    columns = {"id": tagged["id"]}
    if has_lang:
        columns["lang"] = tagged["lang"]
    columns["label"] = pa.array([classes[number] for number in labels], pa.string())
    columns["score"] = pa.array(score)
    if class_scores:
        columns |= {f"score:{n}": pa.array(class_score[:, k]) for k, n in enumerate(classes)}
    kept = [name for name in tagged.column_names if name.startswith(KEPT)]
    return pa.table(columns | {name.removeprefix(KEPT): tagged[name] for name in kept})


# --- formats ------------------------------------------------------------------------------


def _write_csv(output: Output, name: str, tables: Iterable[pa.Table]) -> None:
    with output.writing(name) as stream:
        for number, table in enumerate(tables):
            if number == 0:
                stream.write(csv_rows([table.column_names]).encode())
            columns = [column.to_pylist() for column in table.columns]
            stream.write(csv_rows(zip(*columns, strict=True)).encode())


def _write_jsonl(output: Output, name: str, tables: Iterable[pa.Table]) -> None:
    with output.writing(name) as stream:
        for table in tables:
            for row in table.to_pylist():
                stream.write(orjson.dumps(row) + b"\n")


def _write_parquet(output: Output, name: str, tables: Iterable[pa.Table]) -> None:
    with output.writing(name) as stream:
        writer = None
        for table in tables:
            writer = writer or pq.ParquetWriter(stream, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()


def _write_folder(output: Output, name: str, tables: Iterable[pa.Table]) -> None:
    output.make_folder(name)
    for number, table in enumerate(tables):
        _write_parquet(output, f"{name}/part-{number:05}.parquet", [table])


WRITERS: dict[str, Callable[[Output, str, Iterable[pa.Table]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
    "/": _write_folder,
}
"""Ending of an output's name -> function that writes tables; / is the ending of a folder."""
