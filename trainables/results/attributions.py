"""A trial's attributions: how its test texts were explained, beside its other files.

A trial's folder is complete without them, and ``trial.json`` never changes. So each method has two
files of its own: ``attributions-<method>.parquet`` and, written after it, the record
``attributions-<method>.json``, which names size and SHA-256 of the table and the settings.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json, to_parquet
from xlt.trainables.results.location import ResultsRoot
from xlt.trainables.spec.explain import METHOD_SETTINGS

ATTRIBUTIONS_FORMAT = 1
"""Version of record and table; others are taken for missing, and made again."""

COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the test row
        pa.field("lang", pa.string(), nullable=False),
        pa.field("y_true", pa.int8(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # both texts of a pair, a line each
        # lists of num_tokens: the tokens that may be hidden, in order
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("pieces", pa.list_(pa.string()), nullable=False),  # as people read them
        pa.field("starts", pa.list_(pa.int32()), nullable=False),  # characters of text
        pa.field("ends", pa.list_(pa.int32()), nullable=False),
        pa.field("coefficients", pa.list_(pa.float64()), nullable=False),  # raw, of class 1
        pa.field("standard_errors", pa.list_(pa.float64()), nullable=False),  # of other masks
        # of the text
        pa.field("intercept", pa.float64(), nullable=False),
        pa.field("r2", pa.float64()),  # null where the method has none
        pa.field("p_original", pa.float64(), nullable=False),
        pa.field("p_masked", pa.float64(), nullable=False),  # every token hidden
        pa.field("total", pa.float64(), nullable=False),  # sum of |coefficients|
        # see xlt.trainables.explain.faithfulness
        pa.field("comprehensiveness", pa.float64(), nullable=False),
        pa.field("sufficiency", pa.float64(), nullable=False),
        pa.field("random_comprehensiveness", pa.float64(), nullable=False),
        pa.field("random_sufficiency", pa.float64(), nullable=False),
    ]
)
"""One row a test text."""


@dataclass(frozen=True)
class Attributions:
    """How the test texts of a trial were explained, or why they could not be.

    Attributes:
        settings: Resolved, see :meth:`Explain.resolved`.
        table: num_texts x :data:`COLUMNS`; None: they could not be.
        details: What else the record tells: versions, device, seconds ...
        error: Why they could not be; empty if they could.
    """

    settings: Mapping[str, Any]
    table: pa.Table | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def save_attributions(results: ResultsRoot, trial_id: str, made: Attributions) -> None:
    """Write the table, then the record, into the folder of a done trial."""
    table, record = _names(made.settings["method"])
    content: dict[str, Any] = {"format": ATTRIBUTIONS_FORMAT, "trial_id": trial_id}
    content |= {"settings": dict(made.settings), **made.details}
    if made.table is None:
        content["error"] = made.error
    else:
        stored = to_parquet(made.table)
        results.write(f"trials/{trial_id}/{table}", stored)
        content["size"] = len(stored)
        content["sha256"] = hashlib.sha256(stored).hexdigest()
    results.write(f"trials/{trial_id}/{record}", to_json(content))


def read_record(results: ResultsRoot, trial_id: str, method: str) -> dict[str, Any] | None:
    """The record of a trial's attributions; None where there is none that this version reads."""
    name = _names(method)[1]
    if not results.exists("trials", trial_id, name):
        return None
    try:
        record = results.read_json("trials", trial_id, name)
    except InputError:  # damaged: as good as none, it is made again
        return None
    whole = record.get("format") == ATTRIBUTIONS_FORMAT and isinstance(record.get("settings"), dict)
    return record if whole else None


def explained_by(results: ResultsRoot, trial_id: str) -> list[str]:
    """Methods that a trial has attributions by, in the order of ``METHOD_SETTINGS``."""
    return [method for method in METHOD_SETTINGS if read_record(results, trial_id, method)]


def has_attributions(results: ResultsRoot, trial_id: str, settings: Mapping[str, Any]) -> bool:
    """Whether a trial was explained with these resolved settings, and the table is whole."""
    record = read_record(results, trial_id, settings["method"])
    if record is None or record["settings"] != dict(settings) or "error" in record:
        return False
    try:
        read_attributions(results, trial_id, settings["method"])
    except InputError:
        return False
    return True


def read_attributions(results: ResultsRoot, trial_id: str, method: str) -> Attributions:
    """A trial's attributions, verified.

    Raises:
        InputError: There are none, they failed, or they are damaged; each with the remedy.
    """
    remedy = f"`xlt explain {results.uri} --method {method}` makes them"
    what = f"attributions by {method}"
    record = read_record(results, trial_id, method)
    if record is None:
        raise InputError(f"no {what}; {remedy}")
    if "error" in record:
        raise InputError(f"not explained by {method}: {record['error']}")
    try:
        content = results.read("trials", trial_id, _names(method)[0])
        if hashlib.sha256(content).hexdigest() != record.get("sha256"):
            raise InputError(f"{what} were changed after they were written; {remedy} anew")
        table = pq.read_table(io.BytesIO(content))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{what} cannot be read: {error}; {remedy} anew") from error
    if table.schema.names != COLUMNS.names:
        raise InputError(f"{what} have other columns; {remedy} anew")
    return Attributions(record["settings"], table, record)


def _names(method: str) -> tuple[str, str]:
    """File names of table and record."""
    return f"attributions-{method}.parquet", f"attributions-{method}.json"
