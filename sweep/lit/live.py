"""Answer requests of LIT's process about edited texts with the trained classifiers.

LIT's environment can contain neither torch nor transformers, so the classifiers run in this
process. A request is a JSON object, and so is its answer. Both travel over a private connection,
see :func:`serve`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from xlt.analysis.lit_export import LitExport
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.trainables.explain.target import Values
from xlt.trainables.inference.live import LiveTrial
from xlt.trainables.loading.base import Texts
from xlt.trainables.results.find_trial import list_kept_weights
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

MOST_BYTES = 1 << 33
"""Bytes of weights that stay loaded. If there are more, the least recently used classifier is
dropped. Adapters that share a base model count as if each had its own."""
NUM_CHECKED = 8
"""Number of test rows whose scores are compared with those of the trial when its classifier is
loaded."""

Answer = dict[str, Any]


class LiveTrials:
    """The classifiers of the trials that LIT shows.

    Args:
        collected: Collected results.
        export: Export that LIT shows.

    Raises:
        InputError: A trial kept no model, or the model of the first trial cannot be loaded. The
            first one is loaded at once, so that a common fault shows before LIT opens.
    """

    def __init__(self, collected: Collected, export: LitExport) -> None:
        self._location = Results(collected.uri)
        self._classes: list[str] = export.manifest["classes"]
        self._specs: dict[str, TrialSpec] = {}
        self._settings: dict[str, Explain] = {}
        self._checked: dict[str, list[tuple[str, Texts]]] = {}
        self._loaded: dict[str, LiveTrial] = {}
        files = {entry["name"]: entry["file"] for entry in export.manifest["datasets"]}
        problems = []
        for model in export.manifest["models"]:
            trial = model["trial_id"]
            spec = TrialSpec.parse(collected.records[trial]["spec"])
            try:
                list_kept_weights(self._location.state(spec.trial_id))
            except InputError as error:
                problems.append(f"{trial}: {error}")
            rows = export.files[files[model["dataset"]]][:NUM_CHECKED]
            self._specs[trial] = spec
            self._checked[trial] = [(row["id"], _texts(row)) for row in rows]
            given = {name: v for name, v in model["settings"].items() if name != "rows"}
            self._settings[trial] = Explain.parse(given)
        if problems:
            raise InputError(problems, "--live")
        self._trial(next(iter(self._specs)))

    def answer(self, request: bytes) -> bytes:
        """Answer one request.

        Args:
            request: A JSON object with ``ask`` (a name in :data:`QUESTIONS`), ``trial_id``, and
                the ``text`` (and ``text_pair``) or tokens of the question.

        Returns:
            A JSON object; after a failure it holds only ``error``.
        """
        try:
            question = json.loads(request)
            trial_id = question["trial_id"]
            reply = QUESTIONS[question["ask"]]
            answer = reply(self._trial(trial_id), question, self._settings[trial_id])
        except (InputError, RuntimeError) as error:  # RuntimeError: torch, or diverged scores
            answer = {"error": str(error)}
        return json.dumps(answer).encode()

    def _trial(self, trial_id: str) -> LiveTrial:
        """Classifier of a trial, loaded if necessary; the latest one is last in ``_loaded``."""
        trial = self._loaded.pop(trial_id, None)
        if trial is None:
            trial = LiveTrial(self._specs[trial_id], self._location, self._classes)
            names, texts = zip(*self._checked[trial_id], strict=True)
            trial.refuse_changed_scores(names, texts)
        self._loaded[trial_id] = trial
        while len(self._loaded) > 1 and self._num_bytes() > MOST_BYTES:
            del self._loaded[next(iter(self._loaded))]
        return trial

    def _num_bytes(self) -> int:
        return sum(trial.num_bytes for trial in self._loaded.values())


def _texts(row: Mapping[str, Any]) -> Texts:
    """The text of a row or question, and its second text or None."""
    return row["text"], row.get("text_pair")


def _of_classes(scores: Values) -> Answer:
    """Answer with the probabilities of all classes of each text."""
    if scores.ndim == 1:
        scores = np.stack([1 - scores, scores], axis=1)
    return {"probabilities": scores.tolist()}


def _score(trial: LiveTrial, question: Mapping[str, Any], settings: Explain) -> Answer:
    return _of_classes(trial.score_texts([_texts(question)]))


def _score_token_ids(trial: LiveTrial, question: Mapping[str, Any], settings: Explain) -> Answer:
    return _of_classes(trial.score_token_ids(question["token_ids"]))


def _subwords(trial: LiveTrial, question: Mapping[str, Any], settings: Explain) -> Answer:
    return asdict(trial.split_text(_texts(question)))


def _explain(trial: LiveTrial, question: Mapping[str, Any], settings: Explain) -> Answer:
    return asdict(trial.explain(_texts(question), settings, question.get("label")))


QUESTIONS: dict[str, Callable[[LiveTrial, Mapping[str, Any], Explain], Answer]] = {
    "score": _score,
    "score_token_ids": _score_token_ids,
    "subwords": _subwords,
    "explain": _explain,
}
"""Name of a question -> function (classifier, request, settings of the explanation) -> answer."""
