"""Source languages: one, or several among which source rows are divided evenly."""

from __future__ import annotations

from typing import Annotated

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.dataset.languages import parse_all

SourceLang = str | tuple[str, ...]
"""Language of source rows, or several languages."""


def list_source_langs(source_lang: SourceLang) -> tuple[str, ...]:
    """List the language, or the several languages, of source rows."""
    return (source_lang,) if isinstance(source_lang, str) else source_lang


def join_source_langs(source_lang: SourceLang) -> str:
    """Write the languages of source rows as one text: en, or en+de."""
    return "+".join(list_source_langs(source_lang))


def parse_source_lang(value: SourceLang) -> SourceLang:
    """Give the codes of languages in any spelling; a list of one language becomes this language.

    Raises:
        InputError: The list is empty, or a text is no language.
    """
    if not value:
        raise InputError("is empty; give at least one language")
    langs = parse_all(list_source_langs(value))
    return langs if len(langs) > 1 else langs[0]


ParsedSourceLang = Annotated[SourceLang, pydantic.AfterValidator(parse_source_lang)]
"""One or several languages in settings, in any spelling; the setting has their codes."""


def divide_rows(num_rows: int, num_langs: int, num_classes: int) -> tuple[int, ...]:
    """Divide a number of rows evenly among languages, so that each can be balanced over classes.

    Rounds of one row of each class are divided. The first languages get one round more than the
    others, and the first language gets the rows that are no whole round.

    Returns:
        num_langs numbers of rows. With two classes and an even ``num_rows`` they are all even.
    """
    rounds, left = divmod(num_rows, num_classes)
    shares = [
        num_classes * (rounds // num_langs + (place < rounds % num_langs))
        for place in range(num_langs)
    ]
    shares[0] += left
    return tuple(shares)
