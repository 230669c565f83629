"""Features of ``method: ngram``: TF-IDF of character n-grams."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from xlt.data.core.errors import InputError
from xlt.trainables.baselines.logistic import Featurize, FitFeatures
from xlt.trainables.loading.base import Base
from xlt.trainables.spec.methods import Ngram
from xlt.trainables.spec.trial_spec import TrialSpec


def make_features(spec: TrialSpec, base: Base | None) -> FitFeatures:
    """Make the function that fits TF-IDF to training rows, with the defaults of scikit-learn.

    The two texts of a pair have features of their own.

    Args:
        spec: Trial with the lengths of the n-grams.
        base: Not used.
    """
    del base
    settings = spec.ngram or Ngram()

    def fit(train: pa.Table) -> Featurize:
        columns = ("text", "text_pair") if train["text_pair"].null_count == 0 else ("text",)
        vectorizers = {
            name: TfidfVectorizer(analyzer="char", ngram_range=(settings.min_n, settings.max_n))
            for name in columns
        }
        for name, vectorizer in vectorizers.items():
            try:
                vectorizer.fit(train[name].to_pylist())
            except ValueError as error:  # an empty vocabulary
                raise InputError(
                    f"no training text has {settings.min_n} characters; lower ngram.min_n"
                ) from error

        def featurize(rows: pa.Table) -> Any:
            parts = [v.transform(rows[name].to_pylist()) for name, v in vectorizers.items()]
            return hstack(parts, format="csr")

        return featurize

    return fit
