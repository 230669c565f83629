"""Predict and explain any text with the classifier of a finished trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import BINARY
from xlt.trainables.explain.classes import predict_texts
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.target import Values
from xlt.trainables.explain.tokens import find_replacement_id, find_special_ids, make_readable
from xlt.trainables.explain.trial import explain_rows
from xlt.trainables.inference.explain_kept import refuse_changed_scores
from xlt.trainables.inference.kept import load_kept_model
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
        hidden_as: Token id that replaces a hidden token.
    """

    token_ids: list[int]
    positions: list[int]
    pieces: list[str]
    hidden_as: int


@dataclass(frozen=True)
class LiveExplanation:
    """Explanation of a text.

    Attributes:
        tokens: Readable form of each token.
        salience: Contribution of each token to the probability of the explained class.
        explained: Number of the explained class; 1 for two classes.
    """

    tokens: list[str]
    salience: list[float]
    explained: int


class LiveTrial:
    """Trained classifier of a trial, loaded from its kept model.

    Args:
        spec: Spec of a finished trial.
        results: Location of the trial's folder.
        pairs: Whether a text consists of two texts, on a line each.
        classes: Names of the classes.

    Raises:
        InputError: The trial kept no model, or the weights or the base model cannot be read.
    """

    def __init__(
        self, spec: TrialSpec, results: Results, pairs: bool, classes: Sequence[str] = BINARY
    ) -> None:
        self._spec, self._results, self._pairs = spec, results, pairs
        self._classes = tuple(classes)
        self._base, model = load_kept_model(spec, results, len(classes))
        self._target = make_target(model, spec)
        self.num_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def refuse_changed_scores(self, names: Sequence[str], texts: Sequence[str]) -> None:
        """Raise InputError if the scores of test rows differ from those that the trial wrote.

        Args:
            names: num_rows ids of test rows.
            texts: num_rows texts of these rows.
        """
        refuse_changed_scores(names, self.score_texts(texts), self._results, self._spec)

    def score_texts(self, texts: Sequence[str]) -> Values:
        """Predict texts; num_texts probabilities of class 1, or num_texts x num_classes."""
        return self.score_token_ids(self._encode(texts))

    def score_token_ids(self, token_ids: Sequence[Sequence[int]]) -> Values:
        """Predict texts of token ids, special tokens included; as :meth:`score_texts`."""
        return predict_texts(self._target.predict, token_ids)

    def split_text(self, text: str) -> Subwords:
        """Split a text into the tokens that LIME hides.

        Raises:
            InputError: The text has no token.
        """
        (ids,) = self._encode([text])
        special = find_special_ids(self._base.tokenizer)
        positions = [number for number, token in enumerate(ids) if token not in special]
        pieces = make_readable(self._base.tokenizer, [ids[number] for number in positions])
        replacement = find_replacement_id(self._base.tokenizer, "auto")
        assert replacement is not None  # auto never deletes tokens
        return Subwords(ids, positions, pieces, replacement)

    def explain(self, text: str, settings: Explain, label: int | None = None) -> LiveExplanation:
        """Explain a text.

        Args:
            text: The text.
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
        first, second = self._split_pairs([text])
        rows = pa.table(
            {
                "id": [text],
                "text": first,
                "text_pair": pa.array(second, pa.string()) if second else pa.nulls(1, pa.string()),
                "lang": [self._spec.pattern.target_lang],
                "label": [0],
            }
        )
        replacement = find_replacement_id(self._base.tokenizer, settings.resolved()["replacement"])
        ids = self._encode([text])
        explanation = explain_rows(
            self._target, self._base, self._spec, rows, ids, self._classes, settings, replacement
        ).to_pylist()[0]
        return LiveExplanation(
            explanation["pieces"], explanation["coefficients"], explanation.get("explained", 1)
        )

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        first, second = self._split_pairs(texts)
        encoded, _ = tokenize(self._base, first, second, self._spec.training.max_length)
        refuse_unreadable(self._base, texts, encoded)
        return encoded

    def _split_pairs(self, texts: Sequence[str]) -> tuple[list[str], list[str] | None]:
        """Split each text into its first and second text, which :func:`locate_tokens` joins."""
        if not self._pairs:
            return list(texts), None
        parts = [text.split("\n") for text in texts]
        wrong_parts = next((part for part in parts if len(part) != 2), None)
        if wrong_parts is not None:
            raise InputError(
                "each text of this experiment must be two texts, on a line each, but "
                f"{len(wrong_parts)} lines were given"
            )
        return [first for first, _ in parts], [second for _, second in parts]
