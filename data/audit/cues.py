"""The check ``cues``: predicts the label without the text, from source, id, length and date."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from xlt.data.audit.sample_rows import sample_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset

WARNING_AUROC = 0.75
"""Cross-validated AUROC from which cues are a warning. All cues together reach 0.67 on the built-in
headlines, whose few concepts have typical lengths, and 0.52 on Wikinews sentences
(benchmarks/gate_accuracy.py, docs/benchmarks.md)."""
ERROR_AUROC = 0.98
"""AUROC from which cues are an error: the label was derived from them, or each class was collected
in a different way."""
MIN_ROWS = 50
"""Fewest rows of a class that is judged; with fewer rows the AUROC varies by more than 0.06."""
NUM_BINS = 20
"""Bins of equal size for numbers. Each bin is a feature, so that any relation can be learnt."""
NUM_FOLDS = 5
NUM_FEATURES = 1 << 12
"""Columns to which feature names are hashed."""
_ID = re.compile(r"(\D*)(\d*)")


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Predict the label in each language, from each kind of cue and from all together.

    An AUROC of :data:`WARNING_AUROC` or more is a warning, of :data:`ERROR_AUROC` or more an
    error.
    """
    findings = []
    for lang in dataset.by_lang:
        first = sample_rows(dataset, lang)
        counts = Counter(row.label for row in first)
        judged = {label for label, count in counts.items() if count >= MIN_ROWS}
        rows = [row for row in first if row.label in judged]
        if len(judged) < 2:
            continue
        cues = features(dataset.rows([row.id for row in rows]).to_pydict())
        y_true = np.array([row.label for row in rows])
        together = [list(chain(*parts)) for parts in zip(*cues.values(), strict=True)]
        score = auroc(together, y_true)
        if score < WARNING_AUROC:
            continue
        scores = {name: auroc(values, y_true) for name, values in cues.items()}
        best = max(scores, key=scores.__getitem__)
        findings.append(
            Finding(
                "cues",
                "error" if score >= ERROR_AUROC else "warning",
                f"source, id, text length and date alone tell the label of {lang} rows with an "
                f"AUROC of {score:.2f}; {best} alone with {scores[best]:.2f}",
                f"find out why {best} and label go together, and draw both classes from the same "
                "sources, lengths and dates",
                count=len(rows),
            )
        )
    return findings


def features(columns: dict[str, list[Any]]) -> dict[str, list[list[str]]]:
    """Make the features of rows, by kind of cue.

    Args:
        columns: ``id``, ``text``, ``published`` and ``source``, num_rows values each.

    Returns:
        Kind -> num_rows lists of feature names.
    """
    parts = [_ID.match(row_id) for row_id in columns["id"]]
    prefixes = [match[1] if match else "" for match in parts]
    digits = [match[2] if match else "" for match in parts]
    numbers = _bins([int(d[-18:] or -1) for d in digits])
    days = [day.toordinal() if day else -1 for day in columns["published"]]
    return {
        "source": [[f"source={source}"] for source in columns["source"]],
        "id": [
            [f"prefix={p}", f"length={len(i)}", f"last={i[-1:]}", f"number={n}"]
            for i, p, n in zip(columns["id"], prefixes, numbers, strict=True)
        ],
        "text length": [[f"characters={n}"] for n in _bins([len(t) for t in columns["text"]])],
        "date": [
            [f"days={n}", f"weekday={day % 7 if day >= 0 else None}"]
            for n, day in zip(_bins(days), days, strict=True)
        ],
    }


def auroc(rows: Sequence[list[str]], y_true: npt.NDArray[np.int64]) -> float:
    """Compute the cross-validated AUROC of a logistic regression on hashed features.

    Args:
        rows: num_rows lists of feature names.
        y_true: num_rows labels, each at least :data:`NUM_FOLDS` times.

    Returns:
        0 to 1; with more than two classes the mean over one class against the rest.
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x = FeatureHasher(NUM_FEATURES, input_type="string", alternate_sign=False).transform(rows)
    # liblinear visits only the cells that are not 0, on one thread, so that a busy machine is fast.
    model = LogisticRegression(solver="liblinear", random_state=0)
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    classes = np.unique(y_true)
    scores = []
    for label in classes[1:] if len(classes) == 2 else classes:
        is_label = y_true == label
        y_score = cross_val_predict(model, x, is_label, cv=folds, method="decision_function")
        scores.append(roc_auc_score(is_label, y_score))
    return float(np.mean(scores))


def _bins(values: Sequence[int]) -> list[int]:
    """Find the bin of each value; bins have equal sizes, and equal values have the same bin."""
    array = np.asarray(values)
    ranks = np.searchsorted(np.sort(array), array)
    bins: list[int] = (ranks * NUM_BINS // len(array)).tolist()
    return bins
