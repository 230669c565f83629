"""A done trial's classifier, asked about texts that are no rows of its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from xlt.data.core.errors import InputError
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
        self._base, model = load_kept_model(spec, results, NUM_CLASSES)
        self._target = make_target(model, spec)
        self.num_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

    def refuse_changed_scores(self, names: Sequence[str], texts: Sequence[str]) -> None:
        """Refuse a model that says something else of test rows than the trial wrote.

        Args:
            names: num_rows ids of test rows.
            texts: num_rows.
        """
        refuse_changed_scores(names, self.score_texts(texts), self._results, self._spec)

    def score_texts(self, texts: Sequence[str]) -> Values:
        """num_texts probabilities of class 1."""
        return self.score_token_ids(self._encode(texts))

    def score_token_ids(self, token_ids: Sequence[Sequence[int]]) -> Values:
        """num_texts probabilities of class 1; special tokens are among the ids."""
        lengths = np.array([len(ids) for ids in token_ids])
        scores = np.empty(len(token_ids))
        for length in np.unique(lengths):
            which = np.flatnonzero(lengths == length).tolist()
            scores[which] = self._target.predict(np.array([token_ids[n] for n in which]))
        return scores

    def split_text(self, text: str) -> Subwords:
        """What LIME hides one by one.

        Raises:
            InputError: The text has no token.
        """
        (ids,) = self._encode([text])
        special = find_special_ids(self._base.tokenizer)
        positions = [number for number, token in enumerate(ids) if token not in special]
        pieces = make_readable(self._base.tokenizer, [ids[number] for number in positions])
        replacement = find_replacement_id(self._base.tokenizer, "auto")
        assert replacement is not None  # auto is never to delete
        return Subwords(ids, positions, pieces, replacement)

    def explain(self, text: str, settings: Explain) -> tuple[list[str], list[float]]:
        """Pieces of a text and what each adds to the probability of class 1.

        Raises:
            InputError: As :func:`explain`.
        """
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
        made = explain_rows(
            self._target, self._base, self._spec, rows, ids, settings, replacement
        ).to_pylist()[0]
        return made["pieces"], made["coefficients"]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        first, second = self._split_pairs(texts)
        encoded, _ = tokenize(self._base, first, second, self._spec.training.max_length)
        refuse_unreadable(self._base, texts, encoded)
        return encoded

    def _split_pairs(self, texts: Sequence[str]) -> tuple[list[str], list[str] | None]:
        """First and second text of each, as :func:`locate_tokens` joins them."""
        if not self._pairs:
            return list(texts), None
        parts = [text.split("\n") for text in texts]
        wrong = next((part for part in parts if len(part) != 2), None)
        if wrong is not None:
            raise InputError(
                f"a text of this experiment is two, a line each, and {len(wrong)} lines were given"
            )
        return [first for first, _ in parts], [second for _, second in parts]
