"""Contributions of tokens to predictions: those of the trials, and those of LIT's own LIME."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from lit_nlp.api import components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.components import lime_explainer

from .trials import Row, Trial


class Contributions(components.Interpreter):
    """Contributions with which a trial was explained, for the class that is selected in the page.

    Args:
        method: Method of the explanation.
    """

    def __init__(self, method: str) -> None:
        self._method = method

    def is_compatible(self, model: lit_model.ModelWrapper, dataset: lit_dataset.Dataset) -> bool:
        """Whether the trial was explained with this method, or can be."""
        del dataset
        trial: Trial = model.wrapped
        return trial.method == self._method

    def config_spec(self) -> Row:
        """Request the selected class from the page."""
        return {"_salience_target": lit_types.SalienceTargetInfo()}

    def meta_spec(self) -> Row:
        """Describe the output, which the page draws."""
        return {self._method: lit_types.TokenSalience(autorun=True, signed=True)}

    def run(
        self,
        inputs: list[Row],
        model: lit_model.ModelWrapper,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Row] | None = None,
        config: Row | None = None,
    ) -> list[Row]:
        """Compute one TokenSalience for each row."""
        del dataset, model_outputs
        target = (config or {}).get("_salience_target") or {}
        index = target.get("index")
        label = index if index is not None and index >= 0 else None
        outputs = []
        for row in inputs:
            by_field = model.wrapped.contributions(row, label)
            # A single text has the name of the method alone, as the column of the page says.
            names = (
                [self._method] if len(by_field) == 1 else [f"{self._method}: {n}" for n in by_field]
            )
            outputs.append(dict(zip(names, by_field.values(), strict=True)))
        return outputs


class SubwordLime(lime_explainer.LIME):
    """LIT's own LIME, on the classifier's sub-words instead of words.

    LIT splits texts at spaces, so that a Japanese headline is one token. Here LIT gets a text of
    the sub-words' numbers, separated by spaces. It hides a sub-word by writing the number of the
    replacement token, so that the masks are exactly those that the classifier reads. Everything
    else is LIT's: sampling, kernel, regression, and contributions divided by their sum.
    """

    def is_compatible(self, model: lit_model.ModelWrapper, dataset: lit_dataset.Dataset) -> bool:
        """Whether the trial has a classifier for edited texts."""
        del dataset
        return bool(model.wrapped.is_live)

    def config_spec(self) -> Row:
        """Settings of LIT's LIME, except those that :meth:`run` sets: mask, field and class."""
        fixed = (
            lime_explainer.MASK_KEY,
            lime_explainer.TARGET_HEAD_KEY,
            lime_explainer.CLASS_KEY,
        )
        return {name: kind for name, kind in super().config_spec().items() if name not in fixed}

    def meta_spec(self) -> Row:
        """Describe the output, which the page draws on request."""
        return {"text": lit_types.TokenSalience(autorun=False, signed=True)}

    def run(
        self,
        inputs: list[Row],
        model: lit_model.ModelWrapper,
        dataset: lit_dataset.Dataset,
        model_outputs: list[Row] | None = None,
        config: Row | None = None,
    ) -> list[Row]:
        """Compute one TokenSalience for each row."""
        del model_outputs
        outputs = []
        for row in inputs:
            numbers = Numbers(model.wrapped, row)
            fixed = {
                lime_explainer.MASK_KEY: numbers.hidden_as,
                lime_explainer.TARGET_HEAD_KEY: None,
                lime_explainer.CLASS_KEY: "-1",
            }
            (output,) = super().run(
                [{"text": numbers.sentence}], numbers, dataset, config={**(config or {}), **fixed}
            )
            salience = list(output["text"].salience)
            outputs.append(model.wrapped.separate(numbers.pieces, salience, numbers.segments))
        return outputs


class Numbers(lit_model.Model):
    """A model for LIT that reads the sub-words of one text as numbers separated by spaces.

    Args:
        trial: Trial whose classifier predicts.
        row: Row of the data set; both texts of a pair are one text here.

    Attributes:
        sentence: The text as numbers.
        hidden_as: Number of the token that replaces a hidden one.
        pieces: Sub-words of the text.
        segments: Text that each sub-word belongs to, 0 or 1.
    """

    def __init__(self, trial: Trial, row: Row) -> None:
        self._trial = trial
        subwords = trial.ask("subwords", **trial.texts(row))
        self._token_ids = np.array(subwords["token_ids"])
        self._positions = subwords["positions"]
        self.sentence = " ".join(map(str, self._token_ids[self._positions]))
        self.hidden_as = str(subwords["hidden_as"])
        self.pieces: list[str] = subwords["pieces"]
        self.segments: list[int] = subwords["segments"]

    def input_spec(self) -> Row:
        """Describe the input: a text of numbers."""
        return {"text": lit_types.TextSegment()}

    def output_spec(self) -> Row:
        """Describe the output, which is that of the trial."""
        return self._trial.output_spec()

    def predict(self, inputs: Iterable[Row], **unused: Any) -> Iterator[Row]:
        """Predict the probabilities of all classes for masked copies of the text."""
        sentences = [row["text"].split() for row in inputs]
        rows = np.tile(self._token_ids, (len(sentences), 1))
        rows[:, self._positions] = np.array(sentences, dtype=np.int64)
        answer = self._trial.ask("score_token_ids", token_ids=rows.tolist())
        return ({"probabilities": scores} for scores in answer["probabilities"])
