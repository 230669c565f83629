"""A trial as one of LIT's models, and the process that its classifier can be asked in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import attr
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

Row = dict[str, Any]


class Classifiers:
    """The process that holds the trained classifiers; answers one request at a time.

    Args:
        descriptor: Our end of the connection, inherited.
    """

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._lock = threading.Lock()

    def ask(self, **request: Any) -> Row:
        """Its answer to a request, see ``xlt.sweep.lit.live.QUESTIONS``.

        Raises:
            ValueError: It could not answer, or has ended; LIT's page shows the reason.
        """
        try:
            with self._lock:
                self._connection.send_bytes(json.dumps(request).encode())
                answer: Row = json.loads(self._connection.recv_bytes())
        except (OSError, EOFError) as error:
            raise ValueError(
                "the process with the trained classifiers has ended; start `xlt lit serve` again"
            ) from error
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer


class Trial(lit_model.Model):
    """A trial: it looks up what it predicted, and asks its classifier about other texts.

    Args:
        about: Its entry in the manifest.
        rows: Its file.
        headlines: The data set that it was tested on.
        classes: Names of the classes 0 and 1.
        classifiers: Of edited texts; None: these have no predictions.
    """

    def __init__(
        self,
        about: Row,
        rows: list[Row],
        headlines: lit_dataset.Dataset,
        classes: list[str],
        classifiers: Classifiers | None,
    ) -> None:
        self._about = about
        self._classes = classes
        self._classifiers = classifiers
        self._spec = headlines.spec()
        texts = {row["id"]: row["text"] for row in headlines.examples}
        self._rows = {(row["id"], texts[row["id"]]): row for row in rows}
        self.method = about.get("method")

    def description(self) -> str:
        """Where it is from, shown in LIT's list of models."""
        settings = json.dumps(self._about.get("settings", {}), sort_keys=True)
        return f"Trial {self._about['trial_id']}. Explained by: {settings}"

    def input_spec(self) -> Row:
        """The fields of its data set."""
        # Not required: LIT merges the required fields of all models, which must then be equal.
        # Whatever a data set has of the others is compared all the same.
        language = attr.evolve(self._spec["language"], required=False)
        return {**self._spec, "language": language}

    def output_spec(self) -> Row:
        """Probabilities of both classes."""
        return {
            "probabilities": lit_types.MulticlassPreds(
                vocab=self._classes, null_idx=0, parent="label"
            )
        }

    @property
    def is_live(self) -> bool:
        """Whether it can be asked about edited texts."""
        return self._classifiers is not None

    def predict(self, inputs: Iterable[Row], **unused: Any) -> Iterator[Row]:
        """Stored predictions of test rows; of edited ones the classifier's."""
        for row in inputs:
            stored = self._rows.get((row["id"], row["text"]))
            if stored is not None:
                yield {"probabilities": stored["probabilities"]}
            else:
                (score,) = self.ask("score", texts=[row["text"]])["probabilities"]
                yield {"probabilities": [1 - score, score]}

    def contributions(self, row: Row) -> dtypes.TokenSalience:
        """Tokens and what they add to the probability of class 1, stored or made now."""
        found = self._rows.get((row["id"], row["text"]))
        if self.is_live and (found is None or not found["tokens"]):
            found = self.ask("explain", text=row["text"])
        if found is None:
            raise ValueError(NOT_LIVE)
        return dtypes.TokenSalience(found["tokens"], found["salience"])

    def ask(self, question: str, **about: Any) -> Row:
        """The classifier's answer, see ``xlt.sweep.lit.live.QUESTIONS``."""
        if self._classifiers is None:
            raise ValueError(NOT_LIVE)
        return self._classifiers.ask(ask=question, trial_id=self._about["trial_id"], **about)


NOT_LIVE = (
    "predictions are stored: there are none of an edited text; `xlt lit serve RESULTS --live` asks "
    "the trained classifiers"
)
