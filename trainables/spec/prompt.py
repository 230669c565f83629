"""Settings of ``method: prompt``: a language model scores label words after a text."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.languages import parse_keys

PLACEHOLDERS = ("text", "text_pair")
"""Names that a template may have in braces: the text, and the second text of a pair."""
BY_LANGUAGE = ("templates", "label_words", "instructions")
"""Settings whose keys are languages."""


class Prompt(Settings):
    """Settings of ``method: prompt``: a language model scores label words after a filled template.

    Nothing is trained. Target rows of the pattern stand before the text, each with its label word
    (few-shot prompts, Brown et al. 2020, arXiv 2005.14165).
    """

    templates: dict[str, str] = pydantic.Field(default={})
    """Language of the text -> template with ``{text}``, and ``{text_pair}`` for pairs. The label
    word follows the template directly; a brace that is meant as such is written twice."""
    label_words: dict[str, dict[str, str]] = pydantic.Field(default={})
    """Language of the text -> name of each class -> its word."""
    instructions: dict[str, str] = pydantic.Field(default={})
    """Language of the text -> text before everything else; none for a language that is absent."""
    max_shots: int | None = pydantic.Field(default=None, ge=0)
    """Largest number of target rows in a prompt; a pattern with more has no trials. None: any."""
    calibration: Literal["none", "contextual"] = "none"
    """contextual: divide probabilities by those after texts without content (Zhao et al. 2021,
    arXiv 2102.09690)."""
    chat: Literal["auto", "on", "off"] = "auto"
    """Whether rows and label words are turns of user and assistant in the tokenizer's chat
    template; auto: if it has one."""
    quantize_base: Literal["nf4"] | None = added_later(None)
    """Quantisation of the weights to 4 bits, as for LoRA; None: no quantisation."""

    @pydantic.field_validator("chat", mode="before")
    @classmethod
    def _yaml_on_off(cls, value: Any) -> Any:
        if isinstance(value, bool):  # YAML reads on and off as true and false
            return "on" if value else "off"
        return value

    @pydantic.field_validator("templates")
    @classmethod
    def _placeholders(cls, templates: dict[str, str]) -> dict[str, str]:
        problems = [
            f"{lang}: {problem}"
            for lang, template in templates.items()
            for problem in _list_template_problems(template)
        ]
        if problems:
            raise InputError(problems)
        return templates

    @pydantic.field_validator("label_words")
    @classmethod
    def _distinct_words(cls, label_words: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        problems = []
        for lang, words in label_words.items():
            problems += [
                f"{lang}.{name}: {word!r} is empty or has white space at an end; the template can "
                "end with a space"
                for name, word in words.items()
                if not word or word != word.strip()
            ]
            double = sorted({w for w in words.values() if [*words.values()].count(w) > 1})
            problems += [f"{lang}: {word!r} is the word of several classes" for word in double]
        if problems:
            raise InputError(problems)
        return label_words

    def with_codes(self) -> Self:
        """Copy the settings with the code of each language (:func:`parse_language`).

        Raises:
            InputError: A key is no language, or two keys are one language.
        """
        by_lang, problems = dict[str, Any](), list[str]()
        for name in BY_LANGUAGE:
            try:
                by_lang[name] = parse_keys(getattr(self, name))
            except InputError as error:
                problems += [f"prompt.{name}: {problem}" for problem in error.problems]
        if problems:
            raise InputError(problems)
        return self.model_copy(update=by_lang)

    def restrict(self, lang: str) -> Self:
        """Keep one language, so that texts of others change no trial id."""
        return self.model_copy(
            update={
                name: {key: value for key, value in getattr(self, name).items() if key == lang}
                for name in BY_LANGUAGE
            }
        )

    def problems(self, lang: str, classes: Sequence[str], *, paired: bool) -> list[str]:
        """List what is missing or too much for the texts and classes of a data set.

        Args:
            lang: Language of the texts.
            classes: Names of the classes.
            paired: Whether rows are pairs of texts.
        """
        problems = []
        template, words = self.templates.get(lang), self.label_words.get(lang)
        if template is None:
            problems.append(
                f"prompt.templates: no template for {lang}; give one that ends where the label "
                "word follows, because only you know what the classes mean"
            )
        elif paired != ("text_pair" in _list_names(template)):
            fault = "has no {text_pair}, but rows are pairs of texts; add it"
            if not paired:
                fault = "has {text_pair}, but rows have one text; remove it"
            problems.append(f"prompt.templates.{lang}: {fault}")
        if words is None:
            problems.append(
                f"prompt.label_words: none for {lang}; give a word for each of the classes "
                f"{', '.join(classes)}"
            )
        else:
            at = f"prompt.label_words.{lang}"
            missing = [name for name in classes if name not in words]
            if missing:
                problems.append(f"{at}: no word for {', '.join(missing)}; add it")
            problems += [f"{at}: {unknown('class', n, classes)}" for n in words if n not in classes]
        return problems


def _list_names(template: str) -> set[str | None]:
    """Placeholders of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template)}


def _list_template_problems(template: str) -> list[str]:
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        return [f"{error}; write a brace that is meant as such twice"]
    parts = [part for part in pieces if part[1] is not None]
    problems = [
        f"{{{name}}} is no placeholder; there are {{text}} and {{text_pair}}, and a brace that is "
        "meant as such is written twice"
        for _, name, form, conversion in parts
        if name not in PLACEHOLDERS or form or conversion
    ]
    if "text" not in {name for _, name, _, _ in parts}:
        problems.append("has no {text}; write it where the text belongs")
    elif not any(literal.strip() for literal, *_ in pieces):
        problems.append("has no words of its own; end it with a question or a heading")
    return problems
