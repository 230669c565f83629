"""Explain the test rows of a finished trial with its kept model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.target import Values
from xlt.trainables.explain.trial import explain_trial
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.rows import draw_rows

SCORE_TOLERANCE = 0.05
"""Maximum difference between a kept model's scores and those of the trial.

Another device or data type changes the last digits; other weights change more than this.
"""


def explain_kept(
    spec: TrialSpec, dataset: Dataset, results: Results, settings: Explain
) -> Attributions:
    """Explain the test rows of a finished trial with its kept model.

    Args:
        spec: Spec of the trial.
        dataset: Data set whose fingerprint is ``spec.data_fingerprint``.
        results: Location of the trial's folder.
        settings: Settings of the method, and the number of rows.

    Returns:
        The attributions, as :func:`explain_trial`.
    """
    try:
        _, test = draw_rows(dataset, spec)
        base, model = load_kept_model(spec, results, len(dataset.classes))
        attributions = explain_trial(model, base, spec, test, dataset.classes, settings)
        table = attributions.table
        if table is not None:
            scores = table["p_original"].to_numpy()
            labels = table["explained"].to_pylist() if "explained" in table.schema.names else None
            refuse_changed_scores(table["id"].to_pylist(), scores, results, spec, labels)
    except InputError as error:
        return Attributions(settings.resolved(), error=str(error))
    return attributions


def refuse_changed_scores(
    names: Sequence[str],
    scores: Values,
    results: Results,
    spec: TrialSpec,
    labels: Sequence[int] | None = None,
) -> None:
    """Raise InputError if a model's scores of test rows differ from those that the trial wrote.

    Args:
        names: num_rows row ids.
        scores: num_rows probabilities of class 1, or num_rows x num_classes.
        results: Location of the trial's folder.
        spec: Spec of the trial.
        labels: num_rows classes whose probabilities ``scores`` are; None: as above.

    Raises:
        InputError: A score differs by more than :data:`SCORE_TOLERANCE`.
    """
    stored = results.read_table(spec.trial_id, "predictions")
    try:
        expected = dict(zip(stored["id"].to_pylist(), stored["y_score"].to_pylist(), strict=True))
        written = np.array([expected[name] for name in names], np.float64)
        if labels is not None:
            written = written[np.arange(len(names)), labels]
        difference = float(np.abs(scores - written).max())
    except (LookupError, ValueError, TypeError) as error:
        raise InputError(
            "the trial's predictions lack test rows or scores; run it again"
        ) from error
    if difference > SCORE_TOLERANCE:
        raise InputError(
            f"the kept model's scores differ from the trial's by up to {difference:.3f}: it is "
            "another model, or the base model has changed; train the trial again"
        )
