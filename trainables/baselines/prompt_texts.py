"""Write the prompts of ``method: prompt``: instruction, labelled rows, and the row to classify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.seeds import derive_seed
from xlt.trainables.loading.base import Texts
from xlt.trainables.spec.trial_spec import TrialSpec

SEPARATOR = "\n\n"
"""Text after the instruction and after each labelled row, as in lm-evaluation-harness."""
CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts without content, whose probabilities are averaged (Zhao et al. 2021, section 5)."""
FIXED_DATE = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""Beginning of every chat template: scores must not depend on the day, which some templates write.
The template of Llama 3 has this date where it is given no other."""


@dataclass(frozen=True)
class Writer:
    """Writes prompts that begin alike.

    Attributes:
        template: Template of a row.
        words: Label word of each class.
        instruction: Text before everything else; empty for none.
        shots: Labelled rows: texts and class of each, in the order of the prompt.
        chat: Tokenizer with the chat template to use; None for plain text.
        lead: White space that the chat template writes before an answer.
    """

    template: str
    words: tuple[str, ...]
    instruction: str
    shots: tuple[tuple[Texts, int], ...]
    chat: Any = None
    lead: str = ""

    def write(self, texts: Texts) -> str:
        """Write the prompt of a row, which ends where the label word follows.

        Raises:
            InputError: The chat template cannot be used.
        """
        rows = [*((self._fill(shot), self.words[label]) for shot, label in self.shots)]
        asked = self._fill(texts)
        if self.chat is None:
            head = self.instruction + SEPARATOR if self.instruction else ""
            return head + "".join(row + word + SEPARATOR for row, word in rows) + asked
        users = [row.strip() for row, _ in rows] + [asked.strip()]
        if self.instruction:  # no system turn, which some templates refuse
            users[0] = self.instruction + SEPARATOR + users[0]
        turns = [{"role": "user", "content": users[0]}]
        for (_, word), user in zip(rows, users[1:], strict=True):
            turns.append({"role": "assistant", "content": word})
            turns.append({"role": "user", "content": user})
        return _render(self.chat, turns, asks=True) + self.lead

    def _fill(self, texts: Texts) -> str:
        return self.template.format(text=texts[0], text_pair=texts[1])


def make_writer(
    spec: TrialSpec, classes: Sequence[str], train: pa.Table, shots: Sequence[Texts], tokenizer: Any
) -> Writer:
    """Make the writer of a trial's prompts; the seed shuffles the labelled rows.

    Args:
        spec: Trial with templates and label words in its target language.
        classes: Names of the classes.
        train: num_shots training rows of the pattern.
        shots: Their texts, cut to the trial's length.
        tokenizer: Tokenizer, which may have a chat template.

    Raises:
        InputError: A chat template is required and the tokenizer has none.
    """
    assert spec.prompt is not None  # the method is prompt
    settings, lang = spec.prompt, spec.pattern.target_lang
    if settings.chat == "on" and not tokenizer.chat_template:
        raise InputError(
            "prompt.chat is on, but the tokenizer has no chat template; give a checkpoint that was "
            "trained on chats, or set chat: off"
        )
    chat = tokenizer if settings.chat != "off" and tokenizer.chat_template else None
    order = np.random.default_rng(derive_seed(spec.seed, "shots")).permutation(len(shots))
    labels = train["label"].to_pylist()
    return Writer(
        template=settings.templates[lang],
        words=tuple(settings.label_words[lang][name] for name in classes),
        instruction=settings.instructions.get(lang, ""),
        shots=tuple((shots[number], labels[number]) for number in order.tolist()),
        chat=chat,
        lead=_find_lead(chat) if chat else "",
    )


def list_content_free(rows: pa.Table) -> list[Texts]:
    """List texts without content in the form of the rows, single or in pairs."""
    paired = rows["text_pair"].null_count == 0
    return [(text, text if paired else None) for text in CONTENT_FREE]


def cut_texts(
    tokenizer: Any, texts: Sequence[Texts], max_length: int
) -> tuple[list[Texts], list[bool]]:
    """Cut each row at the end of the character in which its token ``max_length`` lies.

    In a pair the longer text is cut, which is the tokenizer's own rule.

    Returns:
        num_rows texts, and whether each was cut.
    """
    lengths = map(len, _call(tokenizer, texts)["input_ids"])
    is_long = [length > max_length for length in lengths]
    kept = list(texts)
    for number, (text, pair) in enumerate(texts):
        if is_long[number]:
            encoded = _call(tokenizer, [texts[number]], max_length).encodings[0]
            ends = [0, 0]
            for part, (_, end) in zip(encoded.sequence_ids, encoded.offsets, strict=True):
                ends[part] = end
            kept[number] = text[: ends[0]], None if pair is None else pair[: ends[1]]
    return kept, is_long


def _call(tokenizer: Any, texts: Sequence[Texts], max_length: int | None = None) -> Any:
    """Tokenise rows, which all have a second text or none, without special tokens."""
    return tokenizer(
        [text for text, _ in texts],
        [pair for _, pair in texts if pair is not None] or None,
        add_special_tokens=False,
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,
    )


def _find_lead(tokenizer: Any) -> str:
    """Find the white space before an answer, which Llama-2's template writes with the answer."""
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    prompt = _render(tokenizer, turns[:1], asks=True)
    answered = _render(tokenizer, turns, asks=False).removeprefix(prompt)
    lead = answered.partition("A")[0]
    return lead if lead.isspace() else ""


def _render(tokenizer: Any, turns: list[dict[str, str]], *, asks: bool) -> str:
    """Write turns in a chat template; ``asks`` ends it where the assistant's answer begins."""
    try:
        written: str = tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=asks,
            enable_thinking=False,  # Qwen3: the answer itself comes first
            chat_template=FIXED_DATE + tokenizer.get_chat_template(),
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise InputError(
            f"the tokenizer's chat template cannot be used: {error}; set chat: off"
        ) from error
    return written
