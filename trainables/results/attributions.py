"""Explanations of a trial's test texts, in files beside its other ones.

A trial's folder is complete without them, and ``trial.json`` does not list them. Each method has
two files: a table, and a record with the table's size, its SHA-256 and the settings. The record is
written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json, to_parquet
from xlt.data.tables.parquet import read_parquet
from xlt.trainables.results.layout import attribution_names, trial_file
from xlt.trainables.results.location import ResultsRoot, inside_root
from xlt.trainables.spec.explain import list_explainers

ATTRIBUTIONS_FORMAT = 1
"""Version of the record and the table; files of another version count as missing."""

COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # id of the test row
        pa.field("lang", pa.string(), nullable=False),
        pa.field("y_true", pa.int8(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # two lines for a pair of texts
        # lists of num_tokens values, one for each token that may be hidden, in order
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("pieces", pa.list_(pa.string()), nullable=False),  # tokens as readable text
        pa.field("starts", pa.list_(pa.int32()), nullable=False),  # offsets in characters
        pa.field("ends", pa.list_(pa.int32()), nullable=False),
        # raw, for class 1, or for the class in the column explained
        pa.field("coefficients", pa.list_(pa.float64()), nullable=False),
        pa.field("standard_errors", pa.list_(pa.float64()), nullable=False),  # over sampled masks
        # one value for each text
        pa.field("intercept", pa.float64(), nullable=False),
        pa.field("r2", pa.float64()),  # null where the method has none
        pa.field("p_original", pa.float64(), nullable=False),
        pa.field("p_masked", pa.float64(), nullable=False),  # with every token hidden
        pa.field("total", pa.float64(), nullable=False),  # sum of |coefficients|
        # see xlt.trainables.explain.faithfulness
        pa.field("comprehensiveness", pa.float64(), nullable=False),
        pa.field("sufficiency", pa.float64(), nullable=False),
        pa.field("random_comprehensiveness", pa.float64(), nullable=False),
        pa.field("random_sufficiency", pa.float64(), nullable=False),
    ]
)
"""Columns of the table, which has one row for each test text."""
LATER_COLUMNS = pa.schema(
    [
        # with more than two classes: numbers of the class whose probability is explained, and of
        # the most probable one; coefficients and p_original are of the explained class
        pa.field("explained", pa.int8(), nullable=False),
        pa.field("predicted", pa.int8(), nullable=False),
        # for pairs of texts, a list of num_tokens: 0 for tokens of the first text, 1 of the second
        pa.field("segments", pa.list_(pa.int8()), nullable=False),
    ]
)
"""Columns that only some trials have, after the others."""


@dataclass(frozen=True)
class Attributions:
    """Explanations of a trial's test texts, or the reason why they failed.

    Attributes:
        settings: Resolved settings, see :meth:`Explain.resolved`.
        table: num_texts x :data:`COLUMNS`; None if explaining failed.
        details: Other entries of the record: versions, device, seconds.
        error: Reason why explaining failed; empty if it did not.
    """

    settings: Mapping[str, Any]
    table: pa.Table | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@inside_root
def save_attributions(results: ResultsRoot, trial_id: str, attributions: Attributions) -> None:
    """Write the table, then the record, into the folder of a done trial."""
    table, record = attribution_names(attributions.settings["method"])
    content: dict[str, Any] = {"format": ATTRIBUTIONS_FORMAT, "trial_id": trial_id}
    content |= {"settings": dict(attributions.settings), **attributions.details}
    if attributions.table is None:
        content["error"] = attributions.error
    else:
        stored = to_parquet(attributions.table)
        results.write(trial_file(trial_id, table), stored)
        content["size"] = len(stored)
        content["sha256"] = hashlib.sha256(stored).hexdigest()
    results.write(trial_file(trial_id, record), to_json(content))


def read_record(results: ResultsRoot, trial_id: str, method: str) -> dict[str, Any] | None:
    """Read the record of a trial's attributions.

    None if there is none, or if it is damaged or of another version: the trial is then explained
    again.
    """
    file = trial_file(trial_id, attribution_names(method)[1])
    if not results.exists(file):
        return None
    try:
        record = results.read_json(file)
    except InputError:
        return None
    valid = record.get("format") == ATTRIBUTIONS_FORMAT and isinstance(record.get("settings"), dict)
    return record if valid else None


def list_explained_methods(results: ResultsRoot, trial_id: str) -> list[str]:
    """Methods with which a trial was explained, in the order of :func:`list_explainers`."""
    return [method for method in list_explainers() if read_record(results, trial_id, method)]


def has_attributions(results: ResultsRoot, trial_id: str, settings: Mapping[str, Any]) -> bool:
    """Whether a trial was explained with these resolved settings and the table is not damaged."""
    record = read_record(results, trial_id, settings["method"])
    if record is None or record["settings"] != dict(settings) or "error" in record:
        return False
    try:
        read_attributions(results, trial_id, settings["method"])
    except InputError:
        return False
    return True


def read_attributions(
    results: ResultsRoot | str, trial_id: str, method: str = "lime"
) -> Attributions:
    """Read and verify the attributions of a trial, which :func:`explain_trials` computed.

    Args:
        results: Results location, or its local path or URI.
        trial_id: Name of the trial's folder.
        method: Method of the explanation, e.g. ``lime``, ``ig`` or ``occlusion``.

    Returns:
        The attributions. Their ``table`` has one row for each text, with lists of its tokens
        (``pieces``) and their contributions (``coefficients``) to the probability of class 1.

    Raises:
        InputError: There is no such location, the trial was not explained with this method,
            explaining failed, or the table is damaged.
    """
    if isinstance(results, str):
        results = ResultsRoot(results)
        results.check()
    remedy = f"`xlt explain {results.uri} --method {method}` computes them"
    what = f"attributions by {method}"
    record = read_record(results, trial_id, method)
    if record is None:
        raise InputError(f"no {what}; {remedy}")
    if "error" in record:
        raise InputError(f"not explained by {method}: {record['error']}")
    try:
        content = results.read(trial_file(trial_id, attribution_names(method)[0]))
        if hashlib.sha256(content).hexdigest() != record.get("sha256"):
            raise InputError(f"{what} were changed after they were written; {remedy} again")
        table = read_parquet(content)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{what} cannot be read: {error}; {remedy} again") from error
    if not _is_whole(table):
        raise InputError(f"{what} have other columns; {remedy} again")
    return Attributions(record["settings"], table, record)


def _is_whole(table: pa.Table) -> bool:
    """Whether columns are the right ones, and the lists of a text have as many values as tokens."""
    later = [field for field in LATER_COLUMNS if field.name in table.schema.names]
    schema = pa.schema([*COLUMNS, *later])
    if table.schema.names != schema.names:
        return False
    try:
        table = table.cast(schema)
    except (pa.ArrowException, ValueError):
        return False
    lists = [column for column in table.columns if pa.types.is_list(column.type)]
    num_tokens = pc.list_value_length(lists[0])
    return all(
        column.null_count == 0 and pc.list_value_length(column).equals(num_tokens)
        for column in lists
    )
