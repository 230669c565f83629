"""What a trial predicted on its test rows, checked; of tasks with two classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.data.core.user_cache import CacheFile
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.layout import TrialTable
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import find_table_sha256
from xlt.trainables.results.verified import FEWEST_TRIALS
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

COLUMNS = ("id", "split", "y_true", "y_score")


@dataclass(frozen=True)
class TestRows:
    """A trial's test rows.

    Attributes:
        ids: num_rows ids, sorted.
        y_true: num_rows, 0 or 1.
        y_score: num_rows, probability of class 1.
    """

    ids: tuple[str, ...]
    y_true: Labels
    y_score: Scores


class Predictions:
    """What the done trials of an experiment predicted; each file is read once.

    Args:
        location: The results.
        experiment: Whose trials they are.
        records: Trial id -> content of trial.json, of done trials.
    """

    def __init__(
        self, location: Results, experiment: str, records: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._location = location
        self._about = f"{location.uri}\n{experiment}"
        self._digests = {
            trial_id: find_table_sha256(record, "predictions")
            for trial_id, record in records.items()
        }
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, trial_id: str) -> TestRows:
        """The test rows of a trial.

        Raises:
            InputError: As :func:`read_test_rows`, or the trial is not done.
        """
        found = self._found.get(trial_id, "the trial is not done")
        if isinstance(found, str):
            raise InputError(found)
        return found

    @cached_property
    def _found(self) -> dict[str, TestRows | str]:
        """Trial id -> test rows, or why there are none."""
        many = len(self._digests) >= FEWEST_TRIALS
        kept = CacheFile(self._about, "predictions", RESULT_FORMAT) if many else None
        found: dict[str, TestRows | str] = {}
        if kept:
            known = {i: kept.values[d] for i, d in self._digests.items() if d in kept.values}
            found = {i: self._unpacked(value, kept.values) for i, value in known.items()}
        missing = [trial_id for trial_id in self._digests if trial_id not in found]
        found |= zip(missing, self._location.map_items(self._read, missing), strict=True)
        if kept and missing:
            kept.keep(self._packed(found))
        return found

    def _read(self, trial_id: str) -> TestRows | str:
        try:
            rows = read_test_rows(self._location, trial_id, self._digests[trial_id])
        except InputError as error:
            return str(error)
        return TestRows(self._shared(rows.ids), rows.y_true, rows.y_score)

    def _shared(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """One object for equal ids: those of ten thousand trials would take 400 MB."""
        return self._ids.setdefault(ids, ids)

    def _packed(self, found: Mapping[str, TestRows | str]) -> dict[str, bytes]:
        """By the SHA-256 of each file: the key of its ids, labels and scores."""
        texts = {ids: orjson.dumps(ids) for ids in self._ids}
        keys = {ids: hashlib.sha256(text).hexdigest() for ids, text in texts.items()}
        packed = {f"ids {keys[ids]}": text for ids, text in texts.items()}
        for trial_id, rows in found.items():
            if isinstance(rows, TestRows):
                parts = keys[rows.ids].encode(), rows.y_true.tobytes(), rows.y_score.tobytes()
                packed[self._digests[trial_id]] = b"".join(parts)
        return packed

    def _unpacked(self, value: bytes, values: Mapping[str, bytes]) -> TestRows:
        key, numbers = f"ids {value[:64].decode()}", value[64:]
        num_rows = len(numbers) // (1 + 8)
        if key not in self._texts:
            self._texts[key] = self._shared(tuple(orjson.loads(values[key])))
        return TestRows(
            self._texts[key],
            np.frombuffer(numbers, np.int8, num_rows),
            np.frombuffer(numbers[num_rows:], np.float64, num_rows),
        )

    @cached_property
    def _texts(self) -> dict[str, tuple[str, ...]]:
        """Key of ids in the cache -> ids."""
        return {}


def read_test_rows(
    location: Results, trial_id: str, sha256: str | None = None, split: str = "test"
) -> TestRows:
    """Read and check the predictions of a done trial.

    Args:
        location: The results.
        trial_id: The trial.
        sha256: Of the file as it was verified; None: whatever lies there.
        split: Which rows; a trial of a search has ``dev`` in place of ``test``.

    Raises:
        InputError: The file cannot be read or is another one, is without one of :data:`COLUMNS` or
            without such rows, has empty entries or an id twice, labels other than 0 and 1, scores
            of more than two classes or that are no probabilities.
    """
    table = read_columns(location, trial_id, "predictions", COLUMNS, sha256)
    table = table.filter(pc.equal(table["split"], split)).sort_by("id")
    if table.num_rows == 0:
        raise InputError(f"predictions without {split} rows")
    if pa.types.is_nested(table.schema.field("y_score").type):
        raise InputError("predictions of more than two classes; this looks at two")
    if any(table[name].null_count for name in COLUMNS):
        raise InputError("predictions with empty entries")
    ids = tuple(table["id"].to_pylist())
    if len(set(ids)) < len(ids):
        raise InputError("predictions with an id twice")
    y_true, y_score = (table[name].to_numpy() for name in ("y_true", "y_score"))
    if not np.isin(y_true, (0, 1)).all():
        raise InputError("predictions with a y_true other than 0 and 1")
    if y_score.dtype.kind != "f" or (bad := int((~((y_score >= 0) & (y_score <= 1))).sum())):
        count = f"{bad} of {len(ids)}" if y_score.dtype.kind == "f" else "all"
        raise InputError(f"predictions with {count} scores that are no probabilities")
    return TestRows(ids, y_true.astype(np.int8), y_score.astype(np.float64))


def read_train_scores(location: Results, trial_id: str) -> dict[str, tuple[Labels, Scores]]:
    """Labels and scores of a trial's training rows by language, in sample.

    Returns:
        Language -> (num_rows,) 0 or 1 and (num_rows,) probability of class 1 when the row was last
        trained on; languages with rows of both classes that have a score.

    Raises:
        InputError: The file cannot be read.
    """
    columns = ("lang", "label", "y_score")
    table = _read(location, trial_id, "train_rows", columns, None)
    if not set(columns) <= set(table.column_names):
        return {}
    table = table.select(columns).drop_null()
    if not pa.types.is_floating(table.schema.field("y_score").type):
        return {}
    # Codes of languages, because texts as Python objects take longer than all the rest.
    langs = table["lang"].combine_chunks().dictionary_encode()
    labels, scores = (table[name].to_numpy() for name in columns[1:])
    codes = np.from_dlpack(langs.indices)
    found = {}
    for code, lang in enumerate(langs.dictionary.to_pylist()):
        own = labels[codes == code]
        if (own.min(), own.max()) == (0, 1):
            found[lang] = own.astype(np.int8), scores[codes == code].astype(np.float64)
    return found


def read_columns(
    location: Results,
    trial_id: str,
    name: TrialTable,
    columns: tuple[str, ...],
    sha256: str | None = None,
) -> pa.Table:
    """Read columns of one of a trial's tables.

    Raises:
        InputError: It cannot be read, is not the one of ``sha256``, or one of the columns is not
            there.
    """
    table = _read(location, trial_id, name, columns, sha256)
    if missing := [column for column in columns if column not in table.column_names]:
        raise InputError(f"{name} without {', '.join(missing)}")
    return table.select(list(columns))


def _read(
    location: Results, trial_id: str, name: TrialTable, columns: tuple[str, ...], sha256: str | None
) -> pa.Table:
    """Those of the columns that are there."""
    try:
        return location.read_table(trial_id, name, columns, sha256)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{name} cannot be read: {first_line(str(error))}") from error
