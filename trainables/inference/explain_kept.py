"""Explain the test rows of a finished trial from the model that it kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlt.data.core.errors import InputError
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.target import Values
from xlt.trainables.explain.trial import explain_trial
from xlt.trainables.inference.kept import load_kept_model
from xlt.trainables.results.attributions import Attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

SCORE_TOLERANCE = 0.05
"""How far a kept model's scores may be from those that the trial wrote: another device or type of
number moves the last digits; other weights, by more than this."""


def explain_kept(
    spec: TrialSpec, dataset: Dataset, results: Results, settings: Explain
) -> Attributions:
    """Explain the test rows of a done trial from the model that it kept.

    Args:
        spec: The trial.
        dataset: The rows that ``spec.data_fingerprint`` names.
        results: Where its folder lies.
        settings: How, and how many of the rows.

    Returns:
        The attributions, as :func:`explain_trial`.
    """
    try:
        if dataset.fingerprint != spec.data_fingerprint:
            raise InputError("the data set is not the one that the trial was trained on")
        base, model = load_kept_model(spec, results, len(dataset.classes))
        drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
        test = dataset.rows(list(drawn.test))
        made = explain_trial(model, base, spec, test, settings)
        if made.table is not None:
            scores = made.table["p_original"].to_numpy()
            refuse_changed_scores(made.table["id"].to_pylist(), scores, results, spec)
    except InputError as error:
        return Attributions(settings.resolved(), error=str(error))
    return made


def refuse_changed_scores(
    names: Sequence[str], scores: Values, results: Results, spec: TrialSpec
) -> None:
    """Refuse a model whose scores of test rows are not those that the trial wrote.

    Args:
        names: num_rows ids.
        scores: num_rows.
        results: Where the trial's folder lies.
        spec: The trial.
    """
    stored = results.read_table(spec.trial_id, "predictions")
    expected = dict(zip(stored["id"].to_pylist(), stored["y_score"].to_pylist(), strict=True))
    known = np.array([expected[name] for name in names])
    difference = float(np.abs(scores - known).max())
    if difference > SCORE_TOLERANCE:
        raise InputError(
            f"the kept model's scores differ from the trial's by up to {difference:.3f}: it is "
            "another model, or the base model has changed; train the trial again"
        )
