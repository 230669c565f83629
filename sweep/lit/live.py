"""What LIT's process asks about texts that no trial has seen, answered by trained classifiers.

LIT's environment can hold neither torch nor transformers, so the classifiers stay in this process.
A request and its answer are a JSON object each, over a connection that nobody else can reach, see
:func:`serve`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from xlt.analysis.lit_export import LitExport
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.trainables.inference.live import LiveTrial
from xlt.trainables.results.find_trial import kept_files
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import read_texts
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec

MOST_BYTES = 1 << 33
"""Weights that stay loaded together; the classifier that was asked longest ago makes room. Adapters
on a shared base count as if each had a base of its own."""
NUM_CHECKED = 8
"""Test rows whose scores are compared with the trial's when its classifier is loaded."""

Answer = dict[str, Any]


class LiveTrials:
    """The classifiers of the trials that LIT shows.

    Args:
        collected: The results.
        export: What LIT shows of them.

    Raises:
        InputError: Trials that kept no model; or the first one's cannot be loaded, so that what
            holds for all of them is told before LIT opens.
    """

    def __init__(self, collected: Collected, export: LitExport) -> None:
        self._location = Results(collected.uri)
        texts = read_texts(self._location, collected.plan.experiment)
        self._pairs = any(row["text_pair"] is not None for row in texts.values())
        self._specs: dict[str, TrialSpec] = {}
        self._settings: dict[str, Explain] = {}
        self._checked: dict[str, list[tuple[str, str]]] = {}
        self._loaded: dict[str, LiveTrial] = {}
        files = {one["name"]: one["file"] for one in export.manifest["datasets"]}
        problems = []
        for model in export.manifest["models"]:
            trial = model["trial_id"]
            spec = TrialSpec.parse(collected.records[trial]["spec"])
            try:
                kept_files(self._location.state(spec.trial_id))
            except InputError as error:
                problems.append(f"{trial}: {error}")
            rows = export.files[files[model["dataset"]]][:NUM_CHECKED]
            self._specs[trial] = spec
            self._checked[trial] = [(row["id"], row["text"]) for row in rows]
            given = {name: v for name, v in model["settings"].items() if name != "rows"}
            self._settings[trial] = Explain.parse(given)
        if problems:
            raise InputError(problems, "--live")
        self._trial(next(iter(self._specs)))

    def answer(self, request: bytes) -> bytes:
        """Answer one request; what goes wrong is in the answer's ``error``.

        Args:
            request: A JSON object: ``ask``, a name in :data:`QUESTIONS`, ``trial_id`` and what
                the question is about.

        Returns:
            A JSON object.
        """
        try:
            asked = json.loads(request)
            trial = self._trial(asked["trial_id"])
            made = QUESTIONS[asked["ask"]](trial, asked, self._settings[asked["trial_id"]])
        except (InputError, RuntimeError) as error:  # RuntimeError: of torch, or it diverged
            made = {"error": str(error)}
        return json.dumps(made).encode()

    def _trial(self, trial_id: str) -> LiveTrial:
        """Its classifier, from memory if it is there, the last of those loaded."""
        found = self._loaded.pop(trial_id, None)
        if found is None:
            found = LiveTrial(self._specs[trial_id], self._location, self._pairs)
            names, texts = zip(*self._checked[trial_id], strict=True)
            found.refuse_changed_scores(names, texts)
        self._loaded[trial_id] = found
        while len(self._loaded) > 1 and self._num_bytes() > MOST_BYTES:
            del self._loaded[next(iter(self._loaded))]
        return found

    def _num_bytes(self) -> int:
        return sum(trial.num_bytes for trial in self._loaded.values())


def _score(trial: LiveTrial, asked: Mapping[str, Any], settings: Explain) -> Answer:
    return {"probabilities": trial.score_texts(asked["texts"]).tolist()}


def _score_token_ids(trial: LiveTrial, asked: Mapping[str, Any], settings: Explain) -> Answer:
    return {"probabilities": trial.score_token_ids(asked["token_ids"]).tolist()}


def _subwords(trial: LiveTrial, asked: Mapping[str, Any], settings: Explain) -> Answer:
    return asdict(trial.split_text(asked["text"]))


def _explain(trial: LiveTrial, asked: Mapping[str, Any], settings: Explain) -> Answer:
    tokens, salience = trial.explain(asked["text"], settings)
    return {"tokens": tokens, "salience": salience}


QUESTIONS: dict[str, Callable[[LiveTrial, Mapping[str, Any], Explain], Answer]] = {
    "score": _score,
    "score_token_ids": _score_token_ids,
    "subwords": _subwords,
    "explain": _explain,
}
"""Name -> (classifier, request, how the trial was explained) -> answer."""
