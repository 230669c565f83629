"""A trial's classifier on new texts: their scores, and why some have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.trainables.inference.kept import load_kept_model
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import is_readable, tokenize
from xlt.trainables.results.find_trial import FinishedTrial, find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.training.loop import EVAL_BATCH_SIZE, predict, uses_bf16


@dataclass(frozen=True)
class ScoredTexts:
    """Texts with their scores.

    Attributes:
        y_score: num_texts probabilities of class 1 if there are two classes, else num_texts x
            num_classes; nan where there is a problem.
        problems: num_texts reasons why a text has no score, empty where it has.
        truncated: num_texts, whether a text has more than ``max_length`` tokens.
    """

    y_score: NDArray[np.float64]
    problems: list[str]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True)
class Tagger:
    """A done trial's classifier, loaded.

    Attributes:
        trial: The trial.
        base: Its base model.
        model: The classifier.
    """

    trial: FinishedTrial
    base: Base
    model: Any

    @classmethod
    def load(cls, trial: FinishedTrial | str) -> Tagger:
        """Load a trial's classifier, on the GPU if there is one.

        Args:
            trial: As :func:`find_trial` finds it, or ``RESULTS/trials/ID``.

        Raises:
            InputError: There is no such trial, it kept no model, its weights are damaged, its base
                model cannot be loaded or is not the one that it was trained from.
        """
        found = find_trial(trial) if isinstance(trial, str) else trial
        spec = found.spec
        try:
            base, model = load_kept_model(spec, Results(found.uri), len(found.classes))
        except InputError as error:
            raise InputError(error.problems, found.trial_id) from error
        same = ("bf16" if uses_bf16(spec, model.device) else "fp32") == found.signature["precision"]
        if found.moved and not same:
            raise InputError(
                f"base model {spec.base_model!r} was moved, and whether it is the same can be told "
                f"only where numbers are {found.signature['precision']}; "
                f"set training.precision, or load it from where it was"
            )
        # Numbers of another type are rounded, so that their digest says nothing.
        if same and base.weights_digest != found.signature["base_weights"]:
            raise InputError(
                f"the weights of base model {spec.base_model!r} in {spec.base_path!r} are not "
                "those that the trial was trained from; --base-path says where those lie",
                found.trial_id,
            )
        return cls(found, base, model)

    def predict(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        batch_size: int = EVAL_BATCH_SIZE,
    ) -> NDArray[np.float64]:
        """Probabilities of texts.

        Args:
            texts: num_texts.
            pairs: num_texts second texts, of a task on pairs.
            batch_size: Texts a batch; another one can change the last bits of a score.

        Returns:
            num_texts probabilities of class 1 if there are two classes, else num_texts x
            num_classes.

        Raises:
            InputError: A text has no score; told with its number, from 0, and the reason.
        """
        scored = self.score(texts, pairs, batch_size)
        bad = [f"text {n} ({problem})" for n, problem in enumerate(scored.problems) if problem]
        if bad:
            raise InputError(f"{len(bad)} texts have no score: {first_few(bad)}; leave them out")
        return scored.y_score

    def score(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        batch_size: int = EVAL_BATCH_SIZE,
    ) -> ScoredTexts:
        """Scores of the texts that have one; arguments as :meth:`predict`.

        Raises:
            InputError: ``pairs`` are not as many as ``texts``.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise InputError(f"{len(pairs)} second texts for {len(texts)} texts; give one each")
        num_classes = len(self.trial.classes)
        shape = (len(texts),) if num_classes == 2 else (len(texts), num_classes)
        y_score = np.full(shape, np.nan)
        problems = ["" if text.strip() else "empty text" for text in texts]
        truncated = np.zeros(len(texts), dtype=bool)
        given = [row for row, problem in enumerate(problems) if not problem]
        ids: dict[int, list[int]] = {}
        if given:
            tokenizer = self.base.tokenizer
            special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
            encoded, long = tokenize(
                self.base,
                [texts[row] for row in given],
                None if pairs is None else [pairs[row] for row in given],
                self.trial.spec.training.max_length,
            )
            for row, tokens in zip(given, encoded, strict=True):
                if special.issuperset(tokens):
                    problems[row] = "no tokens"
                elif not is_readable(self.base, tokens):
                    problems[row] = f"ends with the pad token: {self.base.tokenizer.pad_token}"
                else:
                    ids[row] = tokens
            truncated[[given[number] for number in long]] = True
        if ids:
            y_score[list(ids)] = predict(
                self.model, list(ids.values()), self.trial.spec, batch_size
            )
        return ScoredTexts(y_score, problems, truncated)
