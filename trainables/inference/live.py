"""Predict and explain any text with the classifier of a finished trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from xlt.data.dataset.schema import BINARY
from xlt.trainables.explain.classes import predict_texts
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.target import Values
from xlt.trainables.explain.tokens import (
    find_replacement_id,
    find_special_ids,
    locate_tokens,
    make_readable,
)
from xlt.trainables.explain.trial import explain_rows
from xlt.trainables.inference.explain_kept import refuse_changed_scores
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.base import Texts
from xlt.trainables.loading.tokenize import refuse_unreadable, tokenize
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class Subwords:
    """A text as the classifier reads it, split into tokens.

    Attributes:
        token_ids: Token ids of the text, special tokens included.
        positions: Positions of the tokens that may be hidden.
        pieces: Readable form of these tokens.
        segments: Text of each of these tokens: 0, or 1 for the second text of a pair.
        hidden_as: Token id that replaces a hidden token.
    """

    token_ids: list[int]
    positions: list[int]
    pieces: list[str]
    segments: list[int]
    hidden_as: int


@dataclass(frozen=True)
class LiveExplanation:
    """Explanation of a text.

    Attributes:
        tokens: Readable form of each token.
        salience: Contribution of each token to the probability of the explained class.
        segments: Text of each token: 0, or 1 for the second text of a pair.
        explained: Number of the explained class; 1 for two classes.
    """

    tokens: list[str]
    salience: list[float]
    segments: list[int]
    explained: int


class LiveTrial:
    """Trained classifier of a trial, loaded from its kept model.

    Args:
        spec: Spec of a finished trial.
        results: Location of the trial's folder.
        classes: Names of the classes.

    Raises:
        InputError: The trial kept no model, or the weights or the base model cannot be read.
    """

    def __init__(self, spec: TrialSpec, results: Results, classes: Sequence[str] = BINARY) -> None:
        self._spec, self._results = spec, results
        self._classes = tuple(classes)
        self._base, model = load_kept_model(spec, results, len(classes))
        self._target = make_target(model, spec)
        self.num_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def refuse_changed_scores(self, names: Sequence[str], texts: Sequence[Texts]) -> None:
        """Raise InputError if the scores of test rows differ from those that the trial wrote.

        Args:
            names: num_rows ids of test rows.
            texts: num_rows texts of these rows, with their second texts.
        """
        refuse_changed_scores(names, self.score_texts(texts), self._results, self._spec)

    def score_texts(self, texts: Sequence[Texts]) -> Values:
        """Predict texts, each with its second text or None.

        Returns:
            num_texts probabilities of class 1, or num_texts x num_classes.
        """
        return self.score_token_ids(self._encode(texts))

    def score_token_ids(self, token_ids: Sequence[Sequence[int]]) -> Values:
        """Predict texts of token ids, special tokens included; as :meth:`score_texts`."""
        return predict_texts(self._target.predict, token_ids)

    def split_text(self, texts: Texts) -> Subwords:
        """Split a text, or a pair, into the tokens that LIME hides.

        Raises:
            InputError: The text has no token.
        """
        (ids,) = self._encode([texts])
        special = find_special_ids(self._base.tokenizer)
        positions = [number for number, token in enumerate(ids) if token not in special]
        pieces = make_readable(self._base.tokenizer, [ids[number] for number in positions])
        replacement = find_replacement_id(self._base.tokenizer, "auto")
        assert replacement is not None  # auto never deletes tokens
        first, second = _separate([texts])
        _, (places,) = locate_tokens(
            self._base.tokenizer, first, second, self._spec.training.max_length
        )
        segments = [int(places[number][0] > len(texts[0])) for number in positions]
        return Subwords(ids, positions, pieces, segments, replacement)

    def explain(self, texts: Texts, settings: Explain, label: int | None = None) -> LiveExplanation:
        """Explain a text, or a pair of texts.

        Args:
            texts: The text, and its second text or None.
            settings: Settings of the method.
            label: Class to explain, for more than two classes; None: that of the settings, and
                the predicted one instead of the true one, which nobody knows.

        Raises:
            InputError: The same errors as :func:`explain_texts`.
        """
        explained = settings.explained_class
        if label is not None and len(self._classes) > 2:
            explained = self._classes[label]
        elif explained == "true" and explained not in self._classes:
            explained = None
        settings = settings.model_copy(update={"explained_class": explained})
        text, pair = texts
        rows = pa.table(
            {
                "id": [text if pair is None else f"{text}\n{pair}"],
                "text": [text],
                "text_pair": pa.array([pair], pa.string()),
                "lang": [self._spec.pattern.target_lang],
                "label": [0],
            }
        )
        replacement = find_replacement_id(self._base.tokenizer, settings.resolved()["replacement"])
        ids = self._encode([texts])
        explanation = explain_rows(
            self._target, self._base, self._spec, rows, ids, self._classes, settings, replacement
        ).to_pylist()[0]
        return LiveExplanation(
            explanation["pieces"],
            explanation["coefficients"],
            explanation.get("segments") or [0] * len(explanation["pieces"]),
            explanation.get("explained", 1),
        )

    def _encode(self, texts: Sequence[Texts]) -> list[list[int]]:
        first, second = _separate(texts)
        encoded, _ = tokenize(self._base, first, second, self._spec.training.max_length)
        refuse_unreadable(self._base, first, encoded)
        return encoded


def _separate(texts: Sequence[Texts]) -> tuple[list[str], list[str] | None]:
    """Separate first and second texts; None where there are no pairs."""
    second = [pair for _, pair in texts if pair is not None]
    return [text for text, _ in texts], second or None
