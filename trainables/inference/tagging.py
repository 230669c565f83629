"""Score new texts with a trial's classifier, and report why a text has no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import is_readable, tokenize
from xlt.trainables.results.find_trial import FinishedTrial, find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.training.loop import EVAL_BATCH_SIZE, predict, uses_bf16


@dataclass(frozen=True)
class ScoredTexts:
    """Scores of texts.

    Attributes:
        y_score: num_texts probabilities of class 1 for two classes, else num_texts x num_classes;
            nan for a text without a score.
        problems: num_texts reasons why a text has no score; empty if it has one.
        truncated: num_texts, true if a text has more than ``max_length`` tokens.
    """

    y_score: NDArray[np.float64]
    problems: list[str]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True)
class Tagger:
    """Loaded classifier of a finished trial.

    Attributes:
        trial: Finished trial.
        base: Base model of the trial.
        model: Trained classifier.
    """

    trial: FinishedTrial
    base: Base
    model: Any

    @classmethod
    def load(cls, trial: FinishedTrial | str) -> Tagger:
        """Load a trial's classifier, on a GPU if there is one.

        Args:
            trial: Trial from :func:`find_trial`, or ``RESULTS/trials/ID``.

        Raises:
            InputError: There is no such trial, it kept no model, its weights are damaged, or its
                base model cannot be loaded or is not the one of its training.
        """
        finished = find_trial(trial) if isinstance(trial, str) else trial
        spec = finished.spec
        try:
            base, model = load_kept_model(spec, Results(finished.uri), len(finished.classes))
        except InputError as error:
            raise InputError(error.problems, finished.trial_id) from error
        precision = "bf16" if uses_bf16(spec, model.device) else "fp32"
        same_precision = precision == finished.signature["precision"]
        if finished.moved and not same_precision:
            raise InputError(
                f"base model {spec.base_model!r} was moved. Checking its weights "
                f"needs the trial's precision, {finished.signature['precision']}; "
                f"set training.precision, or load the base model from its original place"
            )
        # Weights of another precision are rounded, so their digest differs anyway.
        if same_precision and base.weights_digest != finished.signature["base_weights"]:
            raise InputError(
                f"the weights of base model {spec.base_model!r} in {spec.base_path!r} are not "
                "those of the trial's training; give their folder with --base-path",
                finished.trial_id,
            )
        return cls(finished, base, model)

    def predict(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        batch_size: int = EVAL_BATCH_SIZE,
    ) -> NDArray[np.float64]:
        """Predict the probabilities of texts.

        Args:
            texts: num_texts texts.
            pairs: num_texts second texts for a task on pairs.
            batch_size: Texts per batch; another size can change the last bits of a score.

        Returns:
            num_texts probabilities of class 1 if there are two classes, else num_texts x
            num_classes.

        Raises:
            InputError: A text has no score; the message gives its number, from 0, and the reason.
        """
        scored = self.score(texts, pairs, batch_size)
        without_score = [
            f"text {n} ({problem})" for n, problem in enumerate(scored.problems) if problem
        ]
        if without_score:
            raise InputError(
                f"{len(without_score)} texts have no score: {first_few(without_score)}; "
                "leave them out"
            )
        return scored.y_score

    def score(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        batch_size: int = EVAL_BATCH_SIZE,
    ) -> ScoredTexts:
        """Score the texts that can be scored; arguments as :meth:`predict`.

        Raises:
            InputError: The numbers of ``pairs`` and ``texts`` differ.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"{len(pairs)} second texts for {len(texts)} texts; give one each")
        num_classes = len(self.trial.classes)
        shape = (len(texts),) if num_classes == 2 else (len(texts), num_classes)
        y_score = np.full(shape, np.nan)
        problems = ["" if text.strip() else "empty text" for text in texts]
        truncated = np.zeros(len(texts), dtype=bool)
        nonempty = [row for row, problem in enumerate(problems) if not problem]
        ids: dict[int, list[int]] = {}
        if nonempty:
            tokenizer = self.base.tokenizer
            special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
            encoded, long = tokenize(
                self.base,
                [texts[row] for row in nonempty],
                None if pairs is None else [pairs[row] for row in nonempty],
                self.trial.spec.training.max_length,
            )
            for row, tokens in zip(nonempty, encoded, strict=True):
                if special.issuperset(tokens):
                    problems[row] = "no tokens"
                elif not is_readable(self.base, tokens):
                    problems[row] = f"ends with the pad token: {self.base.tokenizer.pad_token}"
                else:
                    ids[row] = tokens
            truncated[[nonempty[number] for number in long]] = True
        if ids:
            y_score[list(ids)] = predict(
                self.model, list(ids.values()), self.trial.spec, batch_size
            )
        return ScoredTexts(y_score, problems, truncated)
