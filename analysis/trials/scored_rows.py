"""Test and training rows of a trial with their scores, read from its tables and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.arrays import Labels, Scores
from xlt.trainables.results.layout import TrialTable
from xlt.trainables.results.result import Results

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


def read_test_rows(
    location: Results, trial_id: str, *, split: str = "test", lang: str = "", num_classes: int = 2
) -> TestRows:
    """Read and check the predictions of a done trial.

    Args:
        location: Results location.
        trial_id: Trial.
        split: Split of the rows: ``test``, or ``dev`` for a trial of a search.
        lang: Language of the rows; empty: any.
        num_classes: Number of classes of the trial.

    Raises:
        InputError: :func:`read_rows_by_lang` refuses the file.
    """
    return read_rows_by_lang(location, trial_id, None, split, (lang,), num_classes)[lang]


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
    if any(table[name].null_count for name in COLUMNS):
        raise InputError("predictions with empty entries")
    # Plain lists are as fast as pyarrow's functions for a thousand rows, and importing those takes
    # longer than reading all trials of a small experiment.
    all_ids = table["id"].to_pylist()
    places = [place for place, name in enumerate(table["split"].to_pylist()) if name == split]
    if not places:
        raise InputError(f"predictions without {split} rows")
    places.sort(key=all_ids.__getitem__)
    ids = tuple(all_ids[place] for place in places)
    if len(set(ids)) < len(ids):
        raise InputError("predictions with an id twice")
    y_true = table["y_true"].to_numpy()[places]
    y_score = _scores(table["y_score"], num_classes)[places]
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
    by_lang, all_langs = {}, table["lang"].to_pylist()
    for lang in langs:
        own = [number for number, place in enumerate(places) if all_langs[place] == lang]
        if not own:
            raise InputError(f"predictions without {split} rows in {lang}")
        by_lang[lang] = TestRows(tuple(ids[n] for n in own), y_true[own], y_score[own])
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
