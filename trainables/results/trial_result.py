"""The result of one trial, and the record of it in ``trial.json``."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.tables.parquet import refuse_more_rows
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.layout import RECORD, TrialTable, is_weights, table_name
from xlt.trainables.spec.trial_spec import RESULT_FORMAT, TrialSpec

NOT_APPLICABLE = "none"
"""Value in a signature that says nothing about the trial, e.g. the precision of no base model."""

State = Literal["done", "failed", "corrupt", "absent"]


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial, before it is written.

    Attributes:
        spec: The trial.
        metrics: Metric name -> value on the test rows of the target language, from 0 to 1.
        signature: Everything that the numbers depend on: versions, data, device, threads.
        timings: Seconds of each stage.
        convergence: Evidence that the trial trained, see :func:`convergence`; empty for a baseline.
            With early stopping also ``best_epoch`` and ``num_epochs``, the number of trained ones,
            both counted through all stages.
        predictions: num_test_rows x (id, lang, split, y_true, y_score); y_score is the probability
            of class 1, or with more than two classes a list of one probability each.
        history: num_steps x (step, epoch, learning_rate, loss, grad_norm); empty for a baseline.
            With early stopping there are the steps until training stopped, and a column
            ``dev_metric``, null but in the last step of each epoch. With two stages there is a
            column ``stage``, 1 or 2.
        train_rows: num_train_rows x (id, lang, label, y_score), in drawing order; y_score is the
            probability at the last step that trained on the row. A trial that reads translations
            has one more column ``translated``.
        model: File name -> content of the configuration and safetensors; empty if the policy drops
            them.
        attributions: Explanations of test rows, if they were requested. They are not part of the
            record; see :func:`save_attributions`.
        execution: Facts of the computation: workers, micro-batches, peak memory, resumed steps.
        metrics_by_lang: Test language -> its metrics, with several test languages; else empty.
    """

    spec: TrialSpec
    metrics: dict[str, float]
    signature: dict[str, Any]
    timings: dict[str, float]
    convergence: dict[str, float]
    predictions: pa.Table
    history: pa.Table
    train_rows: pa.Table
    model: dict[str, bytes]
    attributions: Attributions | None = None
    execution: dict[str, Any] = field(default_factory=dict)
    metrics_by_lang: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialState:
    """The state of a trial's folder.

    Attributes:
        state: done (verified), failed (error.json), corrupt (incomplete or damaged), absent.
        detail: Reason why it failed or is corrupt; empty otherwise.
        record: Content of trial.json or error.json; a verified spec includes its defaults.
    """

    state: State
    detail: str = ""
    record: Mapping[str, Any] | None = None


def build_done_record(result: TrialResult, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Build the record of a done trial.

    Args:
        result: The trial.
        files: File name, relative to its folder -> content.
    """
    by_lang = {}
    if result.metrics_by_lang:
        langs = Counter(result.predictions["lang"].to_pylist())
        by_lang = {"metrics_by_lang": result.metrics_by_lang, "test_rows_by_lang": dict(langs)}
    record = {
        "format": RESULT_FORMAT,
        "trial_id": result.spec.trial_id,
        "spec": result.spec.model_dump(mode="json"),
        "metrics": result.metrics,
        **by_lang,
        "signature": result.signature,
        "timings": result.timings,
        "execution": result.execution,
        "convergence": result.convergence,
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    return seal_record(record)


def seal_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add the SHA-256 of all other fields; it replaces an earlier one."""
    return {**record, "sha256": _hash_record(record)}


def verify_seal(record: Mapping[str, Any]) -> None:
    """Verify a record's own hash. Records of earlier versions have none and are accepted.

    Raises:
        InputError: The record was changed after it was written.
    """
    if "sha256" in record and record["sha256"] != _hash_record(record):
        raise InputError(f"{RECORD} was changed after it was written")


def _hash_record(record: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def build_failure_record(spec: TrialSpec, error: str, traceback: str) -> dict[str, Any]:
    """Build the record of a failed trial."""
    return {
        "format": RESULT_FORMAT,
        "trial_id": spec.trial_id,
        "spec": spec.model_dump(mode="json"),
        "error": error,
        "traceback": traceback,
    }


def verify_record(
    trial_id: str,
    record: Mapping[str, Any],
    sizes: Mapping[str, int],
    read: Callable[[str], bytes],
) -> TrialSpec:
    """Verify the record of a done trial and the files that it lists.

    Args:
        trial_id: Name of the trial's folder.
        record: Content of ``trial.json``.
        sizes: File name, relative to the folder -> bytes.
        read: Function that reads a file by this name.

    Returns:
        The spec in the record.

    Raises:
        InputError: The record or a file is incomplete, damaged or belongs to another trial.
        LookupError, TypeError, AttributeError: The record has another structure.
    """
    if record["format"] != RESULT_FORMAT:
        raise InputError(f"format {record['format']}, expected {RESULT_FORMAT}")
    verify_seal(record)
    spec = TrialSpec.parse(record["spec"])
    if spec.trial_id != trial_id:
        raise InputError(f"the spec in {RECORD} is that of trial {spec.trial_id}")
    if not record["metrics"]:
        raise InputError(f"{RECORD} has no metrics")
    for metrics in (record["metrics"], *record.get("metrics_by_lang", {}).values()):
        if bad := {k: v for k, v in metrics.items() if not is_finite(v)}:
            raise InputError(f"metrics in {RECORD} that are not finite numbers: {bad}")
    signature = record["signature"]
    if not isinstance(signature, dict) or not isinstance(signature.get("versions"), dict):
        raise InputError(f"{RECORD} has no signature")
    most_rows = _count_most_rows(spec)
    for name, expected in record["files"].items():
        if sizes.get(name) != expected["size"]:
            raise InputError(f"{name} has {sizes.get(name)} bytes, expected {expected['size']}")
        # Only the size of weights is checked here: they are large, no table is computed from them,
        # and whoever loads them compares their hash.
        if is_weights(name):
            continue
        content = read(name)
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise InputError(f"{name} was changed after it was written")
        if name in most_rows:
            try:
                refuse_more_rows(content, most_rows[name])
            except InputError as error:
                raise InputError(f"{name} {error}") from error
    return spec


def _count_most_rows(spec: TrialSpec) -> dict[str, int]:
    """File name of each table of a trial -> largest number of its rows."""
    return {
        table_name("predictions"): spec.max_test_rows,
        table_name("history"): spec.num_steps,
        table_name("train_rows"): spec.pattern.num_train_rows,
    }


def find_table_sha256(record: Mapping[str, Any], table: TrialTable) -> str:
    """SHA-256 of a table in the record of a done trial; empty if the record lacks it."""
    return str(record["files"].get(table_name(table), {}).get("sha256", ""))


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float64 holds; NaN compares false."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def refuse_other_types(table: pa.Table) -> None:
    """Refuse a table of a trial that has a column of another type than this project writes.

    Raises:
        InputError: The columns, with their types.
    """
    wrong = [
        f"{field.name} ({field.type})"
        for field in table.schema
        if field.name in _KINDS
        and not pa.types.is_null(field.type)
        and not _KINDS[field.name](field.type)
    ]
    if wrong:
        raise InputError(f"has columns of other types: {', '.join(wrong)}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_score(kind: pa.DataType) -> bool:
    return _is_number(kind) or bool(pa.types.is_list(kind) and _is_number(kind.value_type))


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    **dict.fromkeys(("id", "lang", "split"), _is_text),
    **dict.fromkeys(("y_true", "label", "step", "stage"), pa.types.is_integer),
    **dict.fromkeys(("epoch", "learning_rate", "loss", "grad_norm", "dev_metric"), _is_number),
    "translated": pa.types.is_boolean,
    "y_score": _is_score,
}
"""Column of a trial's tables -> whether a type is right for it."""
