"""Languages of a translation, which a model gets as codes of its tokenizer or as a prefix."""

from __future__ import annotations

from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few
from xlt.data.dataset.languages import parse_language
from xlt.data.sources.translations.model import Translate

NEED_PREFIX = frozenset({"t5", "mt5", "umt5"})
"""Model types whose task is a part of the text."""


def find_codes(tokenizer: Any, settings: Translate) -> tuple[str, str] | None:
    """Find the codes of both languages that a tokenizer knows.

    Args:
        tokenizer: A tokenizer of transformers.
        settings: The languages, and codes that are given.

    Returns:
        The codes of the text and of the translation; None for a tokenizer without languages.

    Raises:
        InputError: The tokenizer does not know a language or a given code.
    """
    if not hasattr(tokenizer, "src_lang"):
        if settings.codes:
            raise InputError("its tokenizer has no codes of languages; remove codes, set prefix")
        return None
    known = _list_codes(tokenizer)
    read = {code: _read_code(code) for code in known}
    codes, problems = [], []
    for lang in settings.direction:
        given, base = settings.codes.get(lang), lang.partition("-")[0]
        matching = [given] if given in known else []
        if not given:
            matching = [code for code in known if read[code] == lang]
            # mBART has a country in each code: ar_AR, bn_IN.
            of_base = [code for code in known if read[code].partition("-")[0] == base]
            matching += of_base if len(of_base) == 1 else []
        if matching:
            codes.append(matching[0])
            continue
        near = [code for code in known if code[:2] == lang[:2]] or known
        problems.append(
            f"its tokenizer has no language {given or lang!r}; known, for example: "
            f"{first_few(near, 10)}; set codes, e.g. {{{lang}: {near[0]}}}"
        )
    if problems:
        raise InputError(problems)
    return codes[0], codes[1]


def check_prefix(tokenizer: Any, model_type: str, settings: Translate) -> str:
    """Give the prefix of each text.

    Raises:
        InputError: The model needs a prefix, and the prefix names no language.
    """
    if settings.prefix is None and model_type in NEED_PREFIX:
        raise InputError(
            f"{model_type} reads its task in the text; set prefix as the model's card says, "
            'e.g. "translate English to German: " or "<2ja> ", or "" for none'
        )
    prefix = settings.prefix or ""
    targets = getattr(tokenizer, "supported_language_codes", [])  # Marian: >>jpn<<
    if len(targets) > 1 and not prefix.startswith(tuple(targets)):
        raise InputError(
            f"it translates into {len(targets)} languages; set prefix to one of "
            f"{first_few(sorted(targets), 10)}"
        )
    return prefix


def find_forced_token(tokenizer: Any, code: str) -> int:
    """Give the id of the token with which a translation into the language of a code begins."""
    if hasattr(tokenizer, "get_lang_id"):  # M2M100, whose token of ja is __ja__
        return int(tokenizer.get_lang_id(code))
    return int(tokenizer.convert_tokens_to_ids(code))


def _read_code(code: str) -> str:
    """Give the language of a code of a tokenizer; the code itself if it is none, such as <pad>."""
    try:
        return parse_language(code)
    except InputError:
        return code


def _list_codes(tokenizer: Any) -> list[str]:
    if hasattr(tokenizer, "lang_code_to_id"):  # M2M100 and mBART-50
        return sorted(tokenizer.lang_code_to_id)
    return sorted(tokenizer.all_special_tokens)
