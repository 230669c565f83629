"""FEATURES: the features of each baseline, by its name in ``trainables.spec.methods.BASELINES``.

These baselines differ in their features. Logistic regression is the same for all (logistic.py).
The baseline ``prompt`` fits nothing and has no features (prompt_scores.py).
"""

from __future__ import annotations

from collections.abc import Callable

from xlt.trainables.baselines import embed, ngram
from xlt.trainables.baselines.logistic import FitFeatures
from xlt.trainables.loading.base import Base
from xlt.trainables.spec.trial_spec import TrialSpec

FEATURES: dict[str, Callable[[TrialSpec, Base | None], FitFeatures]] = {
    "embed": embed.make_features,
    "ngram": ngram.make_features,
}
"""Name -> (spec, base model or None) -> function that fits features to training rows."""
