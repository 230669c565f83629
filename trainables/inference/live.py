"""A done trial's classifier, asked about texts that are no rows of its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.trainables.explain.classifier import classifier_target
from xlt.trainables.explain.pieces import readable
from xlt.trainables.explain.replacements import hidden_as, never_hidden
from xlt.trainables.explain.target import Values
from xlt.trainables.explain.trial import explain_rows
from xlt.trainables.inference.explain_kept import refuse_other_scores
from xlt.trainables.inference.kept import load_kept
from xlt.trainables.loading.tokenize import refuse_misread, tokenize
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

NUM_CLASSES = 2


@dataclass(frozen=True)
class Subwords:
    """A text as the classifier reads it.

    Attributes:
        token_ids: All of them, special tokens included.
        positions: Where those stand that may be hidden.
        pieces: These, as people read them.
        hidden_as: Token id that stands for a hidden one.
    """

    token_ids: list[int]
    positions: list[int]
    pieces: list[str]
    hidden_as: int


class LiveTrial:
    """A trial's trained classifier, loaded from what the trial kept.

    Args:
        spec: A done trial of two classes.
        results: Where its folder lies.
        pairs: Whether a text is two, a line each.

    Raises:
        InputError: It kept no model, or the weights or the base model cannot be read.
    """

    def __init__(self, spec: TrialSpec, results: Results, pairs: bool) -> None:
        self._spec, self._results, self._pairs = spec, results, pairs
        self._base, model = load_kept(spec, results, NUM_CLASSES)
        self._target = classifier_target(model, spec)
        self.num_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def check(self, names: Sequence[str], texts: Sequence[str]) -> None:
        """Refuse a model that says something else of test rows than the trial wrote.

        Args:
            names: num_rows ids of test rows.
            texts: num_rows.
        """
        refuse_other_scores(names, self.probabilities(texts), self._results, self._spec)

    def probabilities(self, texts: Sequence[str]) -> Values:
        """num_texts probabilities of class 1."""
        return self.of_token_ids(self._encode(texts))

    def of_token_ids(self, token_ids: Sequence[Sequence[int]]) -> Values:
        """num_texts probabilities of class 1; special tokens are among the ids."""
        lengths = np.array([len(ids) for ids in token_ids])
        scores = np.empty(len(token_ids))
        for length in np.unique(lengths):
            which = np.flatnonzero(lengths == length).tolist()
            scores[which] = self._target.predict(np.array([token_ids[n] for n in which]))
        return scores

    def subwords(self, text: str) -> Subwords:
        """What LIME hides one by one.

        Raises:
            InputError: The text has no token.
        """
        (ids,) = self._encode([text])
        special = never_hidden(self._base.tokenizer)
        positions = [number for number, token in enumerate(ids) if token not in special]
        pieces = readable(self._base.tokenizer, [ids[number] for number in positions])
        replacement = hidden_as(self._base.tokenizer, "auto")
        assert replacement is not None  # auto is never to delete
        return Subwords(ids, positions, pieces, replacement)

    def explain(self, text: str, settings: Explain) -> tuple[list[str], list[float]]:
        """Pieces of a text and what each adds to the probability of class 1.

        Raises:
            InputError: As :func:`explain`.
        """
        first, second = self._split([text])
        rows = pa.table(
            {
                "id": [text],
                "text": first,
                "text_pair": pa.array(second, pa.string()) if second else pa.nulls(1, pa.string()),
                "lang": [self._spec.pattern.target_lang],
                "label": [0],
            }
        )
        replacement = hidden_as(self._base.tokenizer, settings.resolved()["replacement"])
        ids = self._encode([text])
        made = explain_rows(
            self._target, self._base, self._spec, rows, ids, settings, replacement
        ).to_pylist()[0]
        return made["pieces"], made["coefficients"]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        first, second = self._split(texts)
        encoded, _ = tokenize(self._base, first, second, self._spec.training.max_length)
        refuse_misread(self._base, texts, encoded)
        return encoded

    def _split(self, texts: Sequence[str]) -> tuple[list[str], list[str] | None]:
        """First and second text of each, as :func:`locate` joins them."""
        if not self._pairs:
            return list(texts), None
        parts = [text.split("\n") for text in texts]
        wrong = next((part for part in parts if len(part) != 2), None)
        if wrong is not None:
            raise InputError(
                f"a text of this experiment is two, a line each, and {len(wrong)} lines were given"
            )
        return [first for first, _ in parts], [second for _, second in parts]
