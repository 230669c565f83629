"""Predictions of trials on test and training rows, checked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.data.core.user_cache import CacheFile
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.layout import TrialTable
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import find_table_sha256
from xlt.trainables.results.verified import FEWEST_TRIALS
from xlt.trainables.spec.trial_spec import RESULT_FORMAT

COLUMNS = ("id", "split", "y_true", "y_score")
SUM_TOLERANCE = 1e-4
"""Deviation from 1 of the sum of a row's probabilities that counts as rounding."""


@dataclass(frozen=True)
class TestRows:
    """The test rows of a trial.

    Attributes:
        ids: num_rows ids, sorted.
        y_true: num_rows class numbers.
        y_score: num_rows probabilities of class 1, or with more than two classes num_rows x
            num_classes probabilities.
    """

    ids: tuple[str, ...]
    y_true: Labels
    y_score: Scores


class TestedIn(NamedTuple):
    """Predictions of trials, each in one test language.

    Attributes:
        predictions: Predictions in all languages.
        langs: Trial id -> language, for trials that were tested in several.
    """

    predictions: Predictions
    langs: Mapping[str, str]

    def of(self, trial_id: str) -> TestRows:
        """The test rows of a trial in its language; errors as :meth:`Predictions.of`."""
        return self.predictions.of(trial_id, self.langs.get(trial_id, ""))


def number_stories(
    ids: Sequence[str], same_story: Sequence[Sequence[str]]
) -> NDArray[np.intp] | None:
    """Number the stories that rows belong to.

    Args:
        ids: num_rows ids.
        same_story: Groups of ids of one story, as a plan names them.

    Returns:
        num_rows numbers from 0; None if no story has several rows.
    """
    first = {row_id: group[0] for group in same_story for row_id in group}
    _, stories = np.unique([first.get(row_id, row_id) for row_id in ids], return_inverse=True)
    return stories if stories.max() + 1 < len(ids) else None


class Predictions:
    """Predictions of the done trials of an experiment, by test language; each file is read once.

    Predictions of many trials are also kept in the user's cache, by the SHA-256 of each file,
    because thousands of small files take long to open.

    Args:
        location: Results location.
        experiment: Name of the experiment.
        records: Trial id -> content of trial.json of done trials.
        num_classes: Number of classes of the experiment.
    """

    def __init__(
        self,
        location: Results,
        experiment: str,
        records: Mapping[str, Mapping[str, Any]],
        num_classes: int = 2,
    ) -> None:
        self._location, self._num_classes = location, num_classes
        self._about = f"{location.uri}\n{experiment}"
        self._digests = {
            trial_id: find_table_sha256(record, "predictions")
            for trial_id, record in records.items()
        }
        self._langs = {
            trial_id: tuple(record.get("metrics_by_lang") or ("",))
            for trial_id, record in records.items()
        }
        self._ids: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, trial_id: str, lang: str = "") -> TestRows:
        """The test rows of a trial.

        Args:
            trial_id: Trial.
            lang: Test language; needed for a trial that was tested in several.

        Raises:
            InputError: The trial is not done, or was not tested in this language, or
                :func:`read_test_rows` refuses its file.
        """
        by_lang = self._rows.get(trial_id, "the trial is not done")
        if isinstance(by_lang, str):
            raise InputError(by_lang)
        if lang not in by_lang:
            raise InputError(unknown("test language", lang, by_lang))
        return by_lang[lang]

    @cached_property
    def _rows(self) -> dict[str, dict[str, TestRows] | str]:
        """Trial id -> test rows by language, or the reason why they cannot be used."""
        many = len(self._digests) >= FEWEST_TRIALS
        cache = CacheFile(self._about, "predictions", RESULT_FORMAT) if many else None
        rows: dict[str, dict[str, TestRows] | str] = {}
        for trial_id, langs in self._langs.items() if cache else ():
            keys = {lang: self._key(trial_id, lang) for lang in langs}
            if cache and all(key in cache.values for key in keys.values()):
                rows[trial_id] = {
                    lang: self._unpacked(cache.values[key], cache.values)
                    for lang, key in keys.items()
                }
        missing = [trial_id for trial_id in self._digests if trial_id not in rows]
        rows |= zip(missing, self._location.map_items(self._read, missing), strict=True)
        if cache and missing:
            cache.keep(self._packed(rows))
        return rows

    def _key(self, trial_id: str, lang: str) -> str:
        """Key in the user's cache: SHA-256 of the file, and the language of several."""
        return f"{self._digests[trial_id]} {lang}".strip()

    def _read(self, trial_id: str) -> dict[str, TestRows] | str:
        langs = self._langs[trial_id]
        try:
            by_lang = read_rows_by_lang(
                self._location,
                trial_id,
                self._digests[trial_id],
                langs=langs,
                num_classes=self._num_classes,
            )
        except InputError as error:
            return str(error)
        return {
            lang: TestRows(self._shared(rows.ids), rows.y_true, rows.y_score)
            for lang, rows in by_lang.items()
        }

    def _shared(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """One object for equal ids; separate ids of ten thousand trials would take 400 MB."""
        return self._ids.setdefault(ids, ids)

    def _packed(self, rows_of: Mapping[str, dict[str, TestRows] | str]) -> dict[str, bytes]:
        """Key of each trial and language -> key of ids, labels and scores; key of ids -> ids."""
        texts = {ids: orjson.dumps(ids) for ids in self._ids}
        keys = {ids: hashlib.sha256(text).hexdigest() for ids, text in texts.items()}
        packed = {f"ids {keys[ids]}": text for ids, text in texts.items()}
        for trial_id, by_lang in rows_of.items():
            for lang, rows in by_lang.items() if isinstance(by_lang, dict) else ():
                parts = keys[rows.ids].encode(), rows.y_true.tobytes(), rows.y_score.tobytes()
                packed[self._key(trial_id, lang)] = b"".join(parts)
        return packed

    def _unpacked(self, value: bytes, values: Mapping[str, bytes]) -> TestRows:
        key, numbers = f"ids {value[:64].decode()}", value[64:]
        shape = () if self._num_classes == 2 else (self._num_classes,)
        num_rows = len(numbers) // (1 + 8 * math.prod(shape))
        if key not in self._texts:
            self._texts[key] = self._shared(tuple(orjson.loads(values[key])))
        return TestRows(
            self._texts[key],
            np.frombuffer(numbers, np.int8, num_rows),
            np.frombuffer(numbers[num_rows:], np.float64).reshape(num_rows, *shape),
        )

    @cached_property
    def _texts(self) -> dict[str, tuple[str, ...]]:
        """Key of ids in the cache -> ids that are already parsed."""
        return {}


def read_test_rows(
    location: Results, trial_id: str, sha256: str | None = None, split: str = "test",
    lang: str = "", num_classes: int = 2,
) -> TestRows:  # fmt: skip
    """Read and check the predictions of a done trial.

    Args:
        location: Results location.
        trial_id: Trial.
        sha256: SHA-256 of the verified file; None accepts any file.
        split: Split of the rows: ``test``, or ``dev`` for a trial of a search.
        lang: Language of the rows; empty: any.
        num_classes: Number of classes of the trial.

    Raises:
        InputError: :func:`read_rows_by_lang` refuses the file.
    """
    return read_rows_by_lang(location, trial_id, sha256, split, (lang,), num_classes)[lang]


def read_rows_by_lang(
    location: Results, trial_id: str, sha256: str | None = None, split: str = "test",
    langs: Sequence[str] = ("",), num_classes: int = 2,
) -> dict[str, TestRows]:  # fmt: skip
    """Read and check the predictions of a done trial, language by language.

    Args:
        location: Results location.
        trial_id: Trial.
        sha256: SHA-256 of the verified file; None accepts any file.
        split: Split of the rows: ``test``, or ``dev`` for a trial of a search.
        langs: Languages of the rows; an empty name takes rows of any language.
        num_classes: Number of classes of the trial.

    Returns:
        Language -> its rows.

    Raises:
        InputError: The file cannot be read, is another file, lacks a column or has no such rows; or
            it has empty entries, an id twice, labels that are no class, scores of another number of
            classes, or scores that are no probabilities.
    """
    columns = COLUMNS if tuple(langs) == ("",) else (*COLUMNS, "lang")
    table = read_columns(location, trial_id, "predictions", columns, sha256)
    table = table.filter(pc.equal(table["split"], split)).sort_by("id")
    if table.num_rows == 0:
        raise InputError(f"predictions without {split} rows")
    if any(table[name].null_count for name in COLUMNS):
        raise InputError("predictions with empty entries")
    ids = tuple(table["id"].to_pylist())
    if len(set(ids)) < len(ids):
        raise InputError("predictions with an id twice")
    y_true, y_score = table["y_true"].to_numpy(), _scores(table["y_score"], num_classes)
    if not np.isin(y_true, range(num_classes)).all():
        known = "0 and 1" if num_classes == 2 else f"0 to {num_classes - 1}"
        raise InputError(f"predictions with a y_true other than {known}")
    right = (y_score >= 0) & (y_score <= 1) if y_score.dtype.kind == "f" else np.zeros(len(ids))
    if right.ndim == 2:
        right = right.all(axis=1) & (np.abs(y_score.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if bad := len(ids) - int(right.sum()):
        count = f"{bad} of {len(ids)}" if y_score.dtype.kind == "f" else "all"
        raise InputError(f"predictions with {count} scores that are no probabilities")
    y_true, y_score = y_true.astype(np.int8), y_score.astype(np.float64)
    if tuple(langs) == ("",):
        return {"": TestRows(ids, y_true, y_score)}
    by_lang = {}
    for lang in langs:
        (places,) = np.nonzero(pc.equal(table["lang"], lang).to_numpy())
        if not len(places):
            raise InputError(f"predictions without {split} rows in {lang}")
        own = tuple(ids[place] for place in places.tolist())
        by_lang[lang] = TestRows(own, y_true[places], y_score[places])
    return by_lang


def _scores(column: pa.ChunkedArray, num_classes: int) -> NDArray[Any]:
    """Scores as an array: num_rows, or with more than two classes num_rows x num_classes."""
    several = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if several == (num_classes == 2):
        form = "a list of probabilities" if several else "one probability"
        raise InputError(f"predictions with {form} a row; the experiment has {num_classes} classes")
    if not several:
        return np.asarray(column.to_numpy())
    lengths = np.unique(pc.list_value_length(column)).tolist()
    if lengths != [num_classes]:
        counts = " or ".join(map(str, lengths))
        raise InputError(f"predictions of {counts} classes; the experiment has {num_classes}")
    values = pc.list_flatten(column)
    if values.null_count:
        raise InputError("predictions with empty entries")
    return np.asarray(values.to_numpy()).reshape(-1, num_classes)


def read_train_scores(location: Results, trial_id: str) -> dict[str, tuple[Labels, Scores]]:
    """Read the labels and in-sample scores of the training rows of a trial.

    Returns:
        Language -> num_rows labels, 0 or 1, and num_rows probabilities of class 1. A probability is
        that of the last training step on the row. Left out are rows that were read in translation,
        and languages without scored rows of both classes.

    Raises:
        InputError: The file cannot be read.
    """
    columns = ("lang", "label", "y_score")
    table = _read(location, trial_id, "train_rows", (*columns, "translated"), None)
    if not set(columns) <= set(table.column_names):
        return {}
    if "translated" in table.column_names:
        table = table.filter(pc.invert(table["translated"]))
    table = table.select(columns).drop_null()
    if not pa.types.is_floating(table.schema.field("y_score").type):
        return {}
    # Compare codes of languages: converting their names to Python objects would dominate the time.
    langs = table["lang"].combine_chunks().dictionary_encode()
    labels, scores = (table[name].to_numpy() for name in columns[1:])
    codes = np.from_dlpack(langs.indices)
    by_lang = {}
    for code, lang in enumerate(langs.dictionary.to_pylist()):
        own = labels[codes == code]
        if (own.min(), own.max()) == (0, 1):
            by_lang[lang] = own.astype(np.int8), scores[codes == code].astype(np.float64)
    return by_lang


def read_columns(
    location: Results,
    trial_id: str,
    name: TrialTable,
    columns: tuple[str, ...],
    sha256: str | None = None,
) -> pa.Table:
    """Read columns of a table of a trial.

    Raises:
        InputError: The table cannot be read, has another SHA-256, or lacks a column.
    """
    table = _read(location, trial_id, name, columns, sha256)
    if missing := [column for column in columns if column not in table.column_names]:
        raise InputError(f"{name} without {', '.join(missing)}")
    return table.select(list(columns))


def _read(
    location: Results, trial_id: str, name: TrialTable, columns: tuple[str, ...], sha256: str | None
) -> pa.Table:
    """Read the columns that the table has."""
    try:
        return location.read_table(trial_id, name, columns, sha256)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name} cannot be read: {first_line(str(error))}") from error
