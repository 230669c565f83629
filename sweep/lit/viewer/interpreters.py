"""Contributions of tokens: those of the trials, and LIME as LIT computes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from lit_nlp.api import components, dtypes
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.components import lime_explainer

from .trials import Row, Trial


class Contributions(components.Interpreter):
    """The contributions that a trial was explained with, for the class chosen in the page.

    Of two classes, what a token adds to the probability of one it takes from the other's.

    Args:
        method: Whose they are.
    """

    def __init__(self, method: str) -> None:
        self._method = method

    def is_compatible(self, model: lit_model.ModelWrapper, dataset: lit_dataset.Dataset) -> bool:
        """Whether the trial was explained so, or can be."""
        del dataset
        trial: Trial = model.wrapped
        return trial.method == self._method

    def config_spec(self) -> Row:
        """Makes the page say which class is chosen."""
        return {"_salience_target": lit_types.SalienceTargetInfo()}

    def meta_spec(self) -> Row:
        """What the page draws."""
        return {self._method: lit_types.TokenSalience(autorun=True, signed=True)}

    def run(
        self,
        inputs: list[Row],
        model: lit_model.ModelWrapper,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Row] | None = None,
        config: Row | None = None,
    ) -> list[Row]:
        """A TokenSalience a row."""
        del dataset, model_outputs
        target = (config or {}).get("_salience_target") or {}
        sign = -1 if target.get("index") == 0 else 1
        made = [model.wrapped.contributions(row) for row in inputs]
        return [
            {self._method: dtypes.TokenSalience(one.tokens, [sign * x for x in one.salience])}
            for one in made
        ]


class SubwordLime(lime_explainer.LIME):
    """LIT's own LIME, with the classifier's sub-words in the place of words.

    LIT splits texts at spaces, so that a Japanese headline is one token. Here it is given the
    numbers of the sub-words with spaces between them, and hides a sub-word by writing the number
    of the token that stands for a hidden one: what it masks is what the classifier reads. All
    else is LIT's: drawing, kernel, regression, and contributions divided by their sum.
    """

    def is_compatible(self, model: lit_model.ModelWrapper, dataset: lit_dataset.Dataset) -> bool:
        """Whether the classifier can be asked."""
        del dataset
        return bool(model.wrapped.is_live)

    def config_spec(self) -> Row:
        """LIT's, without what is settled here: field and class are the page's, the mask ours."""
        settled = (
            lime_explainer.MASK_KEY,
            lime_explainer.TARGET_HEAD_KEY,
            lime_explainer.CLASS_KEY,
        )
        return {name: kind for name, kind in super().config_spec().items() if name not in settled}

    def meta_spec(self) -> Row:
        """What the page draws, when it is asked for."""
        return {"text": lit_types.TokenSalience(autorun=False, signed=True)}

    def run(
        self,
        inputs: list[Row],
        model: lit_model.ModelWrapper,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Row] | None = None,
        config: Row | None = None,
    ) -> list[Row]:
        """A TokenSalience a row."""
        del model_outputs
        made = []
        for row in inputs:
            numbers = Numbers(model.wrapped, row["text"])
            settled = {
                lime_explainer.MASK_KEY: numbers.hidden_as,
                lime_explainer.TARGET_HEAD_KEY: None,
                lime_explainer.CLASS_KEY: "-1",
            }
            (found,) = super().run(
                [{"text": numbers.sentence}], numbers, dataset, config={**(config or {}), **settled}
            )
            made.append({"text": dtypes.TokenSalience(numbers.pieces, found["text"].salience)})
        return made


class Numbers(lit_model.Model):
    """A trial that reads the sub-words of one text as numbers with spaces between them.

    Args:
        trial: Whose classifier.
        text: The text, or what is left of it.

    Attributes:
        sentence: The text in numbers.
        hidden_as: The number of the token that stands for a hidden one.
        pieces: The sub-words.
    """

    def __init__(self, trial: Trial, text: str) -> None:
        self._trial = trial
        found = trial.ask("subwords", text=text)
        self._token_ids = np.array(found["token_ids"])
        self._positions = found["positions"]
        self.sentence = " ".join(map(str, self._token_ids[self._positions]))
        self.hidden_as = str(found["hidden_as"])
        self.pieces: list[str] = found["pieces"]

    def input_spec(self) -> Row:
        """The text in numbers."""
        return {"text": lit_types.TextSegment()}

    def output_spec(self) -> Row:
        """As the trial's."""
        return self._trial.output_spec()

    def predict(self, inputs: Iterable[Row], **unused: Any) -> Iterator[Row]:
        """Probabilities of both classes of sentences as long as the text."""
        sentences = [row["text"].split() for row in inputs]
        rows = np.tile(self._token_ids, (len(sentences), 1))
        rows[:, self._positions] = np.array(sentences, dtype=np.int64)
        asked = self._trial.ask("score_token_ids", token_ids=rows.tolist())
        return ({"probabilities": [1 - score, score]} for score in asked["probabilities"])
