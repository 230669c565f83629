"""A trial as a model of LIT, and the connection to the process with its classifier."""

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
TEXT_FIELDS = ("text", "text_pair")
"""Fields of a data set that are texts; only pairs have the second."""


class Classifiers:
    """Connection to the process with the trained classifiers, which answers one request at a time.

    Args:
        descriptor: File descriptor of the inherited connection.
    """

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._lock = threading.Lock()

    def ask(self, **request: Any) -> Row:
        """Send a request and wait for the answer, see ``xlt.sweep.lit.live.QUESTIONS``.

        Raises:
            ValueError: The request failed or the process has ended; LIT's page shows the reason.
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
    """A trial: its stored predictions, and those of its classifier for edited texts.

    Args:
        about: Entry of the trial in the manifest.
        rows: Stored predictions of the trial.
        headlines: Data set with the test rows of the trial.
        classes: Names of the classes.
        classifiers: Connection to the classifiers; None: edited texts have no predictions.
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
        self._fields = [name for name in TEXT_FIELDS if name in self._spec]
        keys = {row["id"]: self._key(row) for row in headlines.examples}
        self._rows = {keys[row["id"]]: row for row in rows}
        self.method = about.get("method")

    def description(self) -> str:
        """Describe the trial in LIT's list of models."""
        settings = json.dumps(self._about.get("settings", {}), sort_keys=True)
        return f"Trial {self._about['trial_id']}. Explained by: {settings}"

    def input_spec(self) -> Row:
        """Describe the input: the fields of the data set."""
        # The language is not required, because LIT merges the required fields of all models, which
        # must then be equal. LIT compares optional fields with those of a data set all the same.
        language = attr.evolve(self._spec["language"], required=False)
        return {**self._spec, "language": language}

    def output_spec(self) -> Row:
        """Describe the output: probabilities of all classes."""
        return {
            "probabilities": lit_types.MulticlassPreds(
                vocab=self._classes, null_idx=0, parent="label"
            )
        }

    @property
    def is_live(self) -> bool:
        """Whether the trial has a classifier for edited texts."""
        return self._classifiers is not None

    def predict(self, inputs: Iterable[Row], **unused: Any) -> Iterator[Row]:
        """Look up predictions of test rows, and compute those of edited texts."""
        for row in inputs:
            stored = self._rows.get(self._key(row))
            if stored is not None:
                yield {"probabilities": stored["probabilities"]}
            else:
                answer = self.ask("score", **self.texts(row))
                yield {"probabilities": answer["probabilities"][0]}

    def texts(self, row: Row) -> Row:
        """The text of a row, and of a pair also the second one: name of the field -> text."""
        return {name: row[name] for name in self._fields}

    def _key(self, row: Row) -> tuple[str, ...]:
        return row["id"], *self.texts(row).values()

    def separate(
        self, tokens: list[str], salience: list[float], segments: list[int]
    ) -> dict[str, dtypes.TokenSalience]:
        """Separate the contributions to tokens by the text that they belong to.

        Args:
            tokens: num_tokens tokens.
            salience: num_tokens contributions.
            segments: num_tokens texts: 0, or 1 for the second text of a pair.

        Returns:
            Name of the field -> its tokens and their contributions.
        """
        own = {
            name: [n for n, segment in enumerate(segments) if segment == number]
            for number, name in enumerate(self._fields)
        }
        return {
            name: dtypes.TokenSalience([tokens[n] for n in places], [salience[n] for n in places])
            for name, places in own.items()
        }

    def contributions(self, row: Row, label: int | None) -> dict[str, dtypes.TokenSalience]:
        """Contributions of tokens to the probability of a class, stored or computed now.

        With two classes, a token adds to the probability of one class what it takes from the other.
        With more, the stored contributions are those to one class of each text.

        Args:
            row: Row of the data set.
            label: Number of the class; None: the class that is explained.

        Returns:
            Name of the field -> its tokens and their contributions.
        """
        explanation = self._rows.get(self._key(row))
        is_binary = len(self._classes) == 2
        explained = (explanation or {}).get("explained")
        is_other = not is_binary and None not in (label, explained) and label != explained
        if self.is_live and (explanation is None or not explanation["tokens"] or is_other):
            explanation = self.ask("explain", label=label, **self.texts(row))
        elif is_other:
            names = self._classes[label or 0], self._classes[explained or 0]
            raise ValueError(OTHER_CLASS.format(*names))
        if explanation is None:
            raise ValueError(NOT_LIVE)
        sign = -1 if is_binary and label == 0 else 1
        tokens, salience = explanation["tokens"], [sign * x for x in explanation["salience"]]
        return self.separate(tokens, salience, explanation.get("segments") or [0] * len(tokens))

    def ask(self, question: str, **about: Any) -> Row:
        """Ask the classifier a question, see ``xlt.sweep.lit.live.QUESTIONS``."""
        if self._classifiers is None:
            raise ValueError(NOT_LIVE)
        return self._classifiers.ask(ask=question, trial_id=self._about["trial_id"], **about)


OTHER_CLASS = (
    "the contributions to {} are not stored, those to {} are; select that class, or start `xlt lit "
    "serve RESULTS --live`, which computes them"
)
NOT_LIVE = (
    "an edited text has no stored prediction; start `xlt lit serve RESULTS --live`, which uses the "
    "trained classifiers"
)
