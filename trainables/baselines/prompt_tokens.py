"""Tokenise the prompts of ``method: prompt``, and find the first token of each label word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.baselines.prompt_texts import (
    Writer,
    cut_texts,
    list_content_free,
    make_writer,
)
from xlt.trainables.loading.base import Texts
from xlt.trainables.loading.tokenize import list_texts
from xlt.trainables.spec.trial_spec import TrialSpec

Ids = NDArray[np.int64]
CHUNK = 32
"""Prompts that are tokenised together; more would hold long prompts in memory several times."""


@dataclass(frozen=True)
class Prompts:
    """Token ids of the prompts of a trial.

    Attributes:
        beginning: Ids with which all prompts begin; empty if it is not shared.
        rests: Ids of each prompt after it, at least one: test rows, training rows, and texts
            without content if there is a calibration.
        label_ids: num_prompts x num_classes, the first token of each label word in its context.
        num_test: Number of test rows.
        num_train: Number of training rows.
        num_cut: Number of test rows and of training rows whose texts were cut.
        uses_chat: Whether prompts are in the tokenizer's chat template.
    """

    beginning: Ids
    rests: list[Ids]
    label_ids: Ids
    num_test: int
    num_train: int
    num_cut: tuple[int, int]
    uses_chat: bool

    @property
    def num_computed(self) -> int:
        """Number of tokens that are computed."""
        return len(self.beginning) + sum(map(len, self.rests))

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all prompts, each with its beginning."""
        return sum(len(self.beginning) + len(rest) for rest in self.rests)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest prompt."""
        return len(self.beginning) + max(map(len, self.rests))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all ids; zero-shot trials of all seeds have the same."""
        digest = hashlib.sha256(self.label_ids.tobytes())
        for ids in (self.beginning, *self.rests):
            digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
        return digest.hexdigest()

    def describe(self, tokenizer: Any) -> dict[str, Any]:
        """Describe the prompts and their cost, for the record of a trial."""
        first = tokenizer.convert_ids_to_tokens(self.label_ids[0].tolist())
        return {
            "uses_chat": self.uses_chat,
            "label_tokens": first,
            "longest_prompt": self.longest,
            "tokens": {"computed": self.num_computed, "without_sharing": self.num_tokens},
            "truncated_texts": dict(zip(("test", "train"), self.num_cut, strict=True)),
        }


def encode_prompts(
    tokenizer: Any,
    spec: TrialSpec,
    classes: Sequence[str],
    train: pa.Table,
    test: pa.Table,
    *,
    shares_beginning: bool = True,
) -> Prompts:
    """Write and tokenise the prompts of a trial.

    A prompt is tokenised together with each label word, because tokens can span their seam.

    Args:
        tokenizer: Fast tokenizer.
        spec: Trial with its prompt settings and text length.
        classes: Names of the classes.
        train: num_train rows, which stand in every prompt with their labels.
        test: num_test rows.
        shares_beginning: Whether to split off the tokens with which all prompts begin.

    Raises:
        InputError: Label words share their first token or begin at different tokens, the chat
            template cannot be used, or the tokenizer does not know the places of its tokens.
    """
    if not tokenizer.is_fast:
        raise InputError(
            "its tokenizer does not know the places of its tokens in a text, which method prompt "
            "needs; give a checkpoint with a tokenizer.json"
        )
    texts = list_texts(test) + list_texts(train)
    texts, is_cut = cut_texts(tokenizer, texts, spec.training.max_length)
    num_test = len(test)
    writer = make_writer(spec, classes, train, texts[num_test:], tokenizer)
    if spec.prompt and spec.prompt.calibration == "contextual":
        texts += list_content_free(test)
    ids: list[Ids] = []
    label_ids: list[Ids] = []
    for start in range(0, len(texts), CHUNK):
        for prompt_ids, first in _encode(tokenizer, writer, texts[start : start + CHUNK]):
            ids.append(prompt_ids)
            label_ids.append(first)
    common = _count_common(ids) if shares_beginning else 0
    return Prompts(
        beginning=ids[0][:common],
        rests=[prompt_ids[common:] for prompt_ids in ids],
        label_ids=np.stack(label_ids),
        num_test=num_test,
        num_train=len(train),
        num_cut=(sum(is_cut[:num_test]), sum(is_cut[num_test:])),
        uses_chat=writer.chat is not None,
    )


def describe_misfit(prompts: Prompts, positions: int | None) -> str:
    """Message for prompts that are longer than a model's positions; empty if all fit."""
    if positions is None or prompts.longest <= positions:
        return ""
    return (
        f"a prompt needs {prompts.longest:,} tokens, {len(prompts.beginning):,} of them before the "
        f"text, and the model has {positions:,} positions; set prompt.max_shots to fewer than "
        f"{prompts.num_train}, or lower training.max_length"
        if prompts.num_train
        else f"a prompt needs {prompts.longest:,} tokens, and the model has {positions:,} "
        "positions; shorten the template, or lower training.max_length"
    )


def _encode(tokenizer: Any, writer: Writer, texts: Sequence[Texts]) -> list[tuple[Ids, Ids]]:
    """Return the ids of each prompt and the first token of each label word after it."""
    prompts = [writer.write(row) for row in texts]
    encodings = [
        tokenizer(
            [prompt + word for prompt in prompts],
            add_special_tokens=writer.chat is None,
            verbose=False,
        )
        for word in writer.words
    ]
    encoded = []
    for number, prompt in enumerate(prompts):
        rows = [encoding["input_ids"][number] for encoding in encodings]
        places = [encoding.char_to_token(number, len(prompt)) for encoding in encodings]
        _refuse_places(writer.words, places)
        place = places[0]
        if len({tuple(row[:place]) for row in rows}) > 1:
            _refuse_places(writer.words, [None])
        first = np.array([row[place] for row in rows])
        _refuse_shared(tokenizer, writer.words, first)
        encoded.append((np.array(rows[0][:place]), first))
    return encoded


def _refuse_places(words: Sequence[str], places: Sequence[int | None]) -> None:
    """Refuse label words that do not begin at the same token, or at the first of all."""
    if not places[0] or len(set(places)) > 1:
        raise InputError(
            f"the label words {', '.join(map(repr, words))} do not begin after the same tokens of "
            "a prompt, because some join with the end of the template; end the template with "
            "another character, such as a colon or a line break"
        )


def _refuse_shared(tokenizer: Any, words: Sequence[str], first: Ids) -> None:
    """Refuse label words with the same first token, which are scored by it."""
    for token in first.tolist():
        same = [word for word, other in zip(words, first.tolist(), strict=True) if other == token]
        if len(same) > 1:
            name = tokenizer.convert_ids_to_tokens(token)
            raise InputError(
                f"the label words {' and '.join(map(repr, same))} share their first token "
                f"{name!r}, by which they are scored; choose words that begin differently"
            )


def _count_common(ids: Sequence[Ids]) -> int:
    """Count the tokens with which all begin; each keeps at least one token of its own."""
    length = min(map(len, ids)) - 1
    for other in ids[1:]:
        differs = np.flatnonzero(ids[0][:length] != other[:length])
        length = int(differs[0]) if len(differs) else length
    return length
