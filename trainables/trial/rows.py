"""Draw the rows of a trial, and make the tables of their scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import draw_dev, draw_with_dev
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translated_rows import read_translated
from xlt.trainables.metrics.registry import score
from xlt.trainables.spec.trial_spec import TrialSpec


def draw_rows(dataset: Dataset, spec: TrialSpec) -> tuple[pa.Table, pa.Table]:
    """Draw training and test rows, or dev rows instead of test rows for the choice of settings.

    Rows are read in translation where the pattern says so; see :func:`read_translated`.

    Raises:
        InputError: The data set is not that of the spec, or it has too few rows.
    """
    directions = spec.pattern.directions(spec.source_lang)
    translations = dataset.translations.fingerprint(*directions)
    if (dataset.fingerprint, translations) != (spec.data_fingerprint, spec.translations):
        raise InputError("the data set is not the one that the trial was planned for")
    arguments = (dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    drawn = (
        draw_dev(*arguments, spec.dev)
        if spec.dev
        else draw_with_dev(*arguments, spec.stopping_dev)[0]
    )
    train, test = dataset.rows(drawn.train), dataset.rows(drawn.test)
    if spec.sampling.test_langs and not spec.dev:
        test = test.filter(pc.is_in(test["lang"], pa.array(spec.test_langs)))
    if not directions:
        return train, test
    read, tested = (read_translated(dataset, rows, *directions) for rows in (train, test))
    if spec.pattern.translate == "train+source":
        originals = dataset.rows(drawn.source)
        marks = pa.array([False] * len(originals))
        read = pa.concat_tables([originals.append_column("translated", marks), read])
    return read, tested


def draw_stopping_rows(dataset: Dataset, spec: TrialSpec) -> pa.Table | None:
    """Draw the dev rows that a trial holds out for early stopping, read as its test rows are.

    Returns:
        None without early stopping, and in a search, which stops on the dev rows of its scores.
    """
    if spec.stopping_dev is None:
        return None
    _, ids = draw_with_dev(
        dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index, spec.stopping_dev
    )
    directions, rows = spec.pattern.directions(spec.source_lang), dataset.rows(ids)
    return read_translated(dataset, rows, *directions) if directions else rows


def make_predictions(spec: TrialSpec, test: pa.Table, y_score: NDArray[np.float64]) -> pa.Table:
    """Make the table ``predictions`` of a :class:`TrialResult`."""
    return pa.table(
        {
            "id": test["id"],
            "lang": test["lang"],
            "split": pa.array(["dev" if spec.dev else "test"] * len(test)),
            "y_true": test["label"],
            "y_score": _make_score_column(y_score),
        }
    )


def score_languages(
    spec: TrialSpec, test: pa.Table, y_score: NDArray[np.float64]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Compute the metrics on the test rows of each language.

    Args:
        spec: The trial.
        test: num_rows test or dev rows.
        y_score: num_rows probabilities of class 1, or num_rows x num_classes.

    Returns:
        ``metrics`` and ``metrics_by_lang`` of a :class:`TrialResult`.
    """
    labels = test["label"].to_numpy()
    if spec.dev or len(spec.test_langs) == 1:
        return score(labels, y_score), {}
    langs = np.asarray(test["lang"].to_pylist())
    by_lang = {
        lang: score(labels[langs == lang], y_score[langs == lang]) for lang in spec.test_langs
    }
    return by_lang[spec.pattern.target_lang], by_lang


def make_train_rows(train: pa.Table, y_score: NDArray[np.float64]) -> pa.Table:
    """Make the table ``train_rows`` of a :class:`TrialResult`.

    With translations it has one more column ``translated``: whether the row was read in
    translation, in the language ``lang``.
    """
    marked = [name for name in train.column_names if name == "translated"]
    columns = train.select(["id", "lang", "label", *marked])
    return columns.append_column("y_score", _make_score_column(y_score))


def _make_score_column(y_score: NDArray[np.float64]) -> pa.Array:
    if y_score.ndim == 1:
        return pa.array(y_score)
    return pa.array(list(y_score), pa.list_(pa.float64()))
