"""Predictions of the trials of an experiment: each file is read once, and kept in the cache."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson

from xlt.analysis.trials.scored_rows import TestRows, read_rows_by_lang
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.user_cache import CacheFile
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import find_table_sha256
from xlt.trainables.results.verified import FEWEST_TRIALS
from xlt.trainables.spec.trial_spec import RESULT_FORMAT


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
