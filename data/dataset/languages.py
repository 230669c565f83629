"""Languages: every spelling that users and data sets have for one gets one BCP-47 code.

Codes and names come from the package ``langcodes``, which holds the registry of IANA and the
Unicode CLDR. It is imported only when a language is parsed.
"""

from __future__ import annotations

import difflib
import re
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few, shorten

TWO_LETTERS = re.compile(
    r"a[abefkmnrsvyz]|b[aegimnors]|c[aehorsuvy]|d[aevz]|e[elnostu]|f[afijory]|g[adlnuv]|"
    r"h[aeiortuyz]|i[adegikostu]|j[av]|k[agijklmnorsuvwy]|l[abginotuv]|m[ghiklnrsty]|"
    r"n[abdeglnorvy]|o[cjmrs]|p[ailst]|q[u]|r[mnouw]|s[acdegiklmnoqrstuvw]|"
    r"t[aeghiknorstwy]|u[gkrz]|v[eio]|w[ao]|x[h]|y[io]|z[ahu]"
)
"""Codes of two letters that are the code of their language and of no other. ``langcodes`` says the
same, but its import takes 25 ms."""
LANG = re.compile(r"[a-z]{2,3}([-_]|$)")
"""Beginning of a code of a language; codes without one, such as x-private, name no language."""
AMBIGUOUS: dict[str, tuple[str, ...]] = dict.fromkeys(("sh", "hbs"), ("bs", "hr", "sr", "sr-Latn"))
"""Codes of several languages that have codes of their own, and these. The CLDR reads sh as sr-Latn,
but Croatian and Bosnian texts have this code, too."""
KEPT = {"tw": "tw", "twi": "tw"}
"""Codes that the CLDR gives to another language (Akan), although FLORES-200 has both."""
SAME_SCRIPT = {("ko", "Hang"): "Kore"}
"""Language and script in FLORES-200 -> its script in the CLDR: Kore is Hangul with Han."""
TWO_SCRIPTS = frozenset({"zh"})
"""Languages that keep their script even if it is the usual one. Simplified and traditional Chinese
are both so common that ``zh`` says neither."""
NO_REGION = frozenset({"001", "XX"})
"""Regions that are none: Modern Standard Arabic is ar-001 in the CLDR, Japanese ja_XX in mBART."""
IN_BRACKETS = re.compile(r"(?P<name>[^()]+)\((?P<qualifier>[^()]+)\)")
"""Form of names such as ``Chinese (Simplified)`` and ``Acehnese (Arabic script)``."""
NUM_MEANT = 8
"""Languages that an error proposes."""
MIN_SIMILAR = 0.8
"""Least similarity (difflib) of a known name to an unknown one that an error proposes."""


def parse_language(text: str) -> str:
    """Give the code of a language: ``ja`` for ja, jpn, jpn_Jpan, ja-JP and Japanese.

    The code is in the canonical form of the Unicode CLDR (UTS #35, annex C): deprecated codes are
    replaced (iw is he), the main language of a macrolanguage has its code (cmn is zh, arb is ar),
    and the script and region that a language usually has are left out. The script stays if the
    language has another one (sr-Latn), and for :data:`TWO_SCRIPTS`. Names are English.

    Raises:
        InputError: No language has this code or name, or several have it; the error lists those
            that may be meant.
    """
    codes = _find_codes(text)
    if not codes:
        raise InputError(_describe_unknown(text))
    if len(codes) > 1:
        meant = ", ".join(map(_show, codes))
        raise InputError(f"language {text!r} may be {meant}; write one of these codes")
    return codes[0]


Language = Annotated[str, pydantic.AfterValidator(parse_language)]
"""A language in settings, in any spelling; the setting holds its code."""


def parse_all(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Give the codes of languages without repetitions.

    Raises:
        InputError: A text is no language; one error has all of them.
    """
    codes, problems = dict[str, None](), list[str]()
    for text in texts:
        try:
            codes[parse_language(text)] = None
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(codes)


Languages = Annotated[tuple[str, ...], pydantic.AfterValidator(parse_all)]
"""Languages in settings, in any spelling; the setting has their codes."""


def parse_keys(values: Any) -> Any:
    """Replace the keys of a mapping, which are languages, by their codes.

    Raises:
        InputError: A key is no language, or two keys are one language.
    """
    if not isinstance(values, dict):
        return values
    read, problems = dict[str, Any](), list[str]()
    for key, value in values.items():
        try:
            code = parse_language(str(key))
        except InputError as error:
            problems += error.problems
            continue
        if code in read:
            problems.append(f"{key!r} is {code}, which another key is, too; remove one")
        read[code] = value
    if problems:
        raise InputError(problems)
    return read


Value = TypeVar("Value")
ByLanguage = Annotated[dict[str, Value], pydantic.BeforeValidator(parse_keys)]
"""A mapping in settings whose keys are languages, in any spelling; the setting has their codes."""


def parse_languages(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give the codes of a column of languages; what is no language stays as it is."""
    codes = {text: _code_or(text) for text in column.unique().to_pylist() if text}
    if all(text == code for text, code in codes.items()):
        return column
    read = [codes.get(text, text) for text in column.to_pylist()]
    return pa.chunked_array([pa.array(read, column.type)])


def same_language(first: str, second: str) -> bool:
    """Whether two texts are the same, or are spellings of one language."""
    return first == second or _code_or(first) == _code_or(second)


def _code_or(text: str) -> str:
    codes = _find_codes(text)
    return codes[0] if len(codes) == 1 else text


@lru_cache(maxsize=4096)
def _find_codes(text: str) -> tuple[str, ...]:
    """Find the languages that a text may mean."""
    if TWO_LETTERS.fullmatch(text):
        return (text,)
    by_code = _from_code(text)
    # Names take long to load, and a code such as ja is none. Mon is a name, and code of Mongolian.
    by_name = _from_name(text) if by_code is None or text.istitle() else None
    if by_code and by_name and by_code != by_name:
        return by_code, by_name
    code = by_code or by_name
    return AMBIGUOUS.get(code, (code,)) if code else ()


def _from_code(text: str) -> str | None:
    """Give the code of a text that is one in any form; None: it is none."""
    from langcodes import Language as Tag
    from langcodes.tag_parser import LanguageTagError

    try:
        is_valid = Tag.get(text.strip()).is_valid()
    except LanguageTagError:
        return None
    return _shorten_code(text.strip()) if is_valid and LANG.match(text.strip().lower()) else None


def _shorten_code(text: str, **parts: str) -> str:
    """Leave out the parts of a code that its language usually has (UTS #35, Remove Likely Subtags).

    Args:
        text: A valid code in any form.
        **parts: Script or territory, instead of those of the code.
    """
    from langcodes import Language as Tag

    first, _, rest = text.lower().replace("_", "-").partition("-")
    if first in AMBIGUOUS and not rest:
        return first
    tag = Tag.get(text).prefer_macrolanguage().update_dict(parts)
    if first in KEPT:
        tag = tag.update_dict({"language": KEPT[first]})
    script = SAME_SCRIPT.get((tag.language or "", tag.script or ""), tag.script)
    territory = None if tag.territory in NO_REGION else tag.territory
    tag = tag.update_dict({"script": script, "territory": territory})
    if tag.language is None or not (script or territory):
        return str(tag)
    full = tag.maximize()
    options = [{}, {"script": full.script}, {"territory": full.territory}]
    for kept in options[tag.language in TWO_SCRIPTS :]:
        shorter = tag.update_dict({"script": None, "territory": None} | kept)
        if shorter.maximize() == full:
            return str(shorter)
    return str(tag)


def _from_name(text: str) -> str | None:
    """Give the code of an English name; None: it is none."""
    code = _find_name("language", text)
    if code is not None:
        return _shorten_code(code)
    match = IN_BRACKETS.fullmatch(text.strip())
    code = _find_name("language", match["name"]) if match else None
    if match is None or code is None:
        return None
    qualifier = re.sub(r"\bscript$", "", match["qualifier"].strip(), flags=re.IGNORECASE)
    for part in ("script", "territory"):
        subtag = _find_name(part, qualifier)
        if subtag is not None:
            return _shorten_code(code, **{part: subtag})
    return None


def _find_name(kind: str, name: str) -> str | None:
    """Find the code of an English name; not with ``Language.find``, which also takes beginnings.

    Args:
        kind: language, script or territory.
        name: The name, in any case.
    """
    from language_data.names import normalize_name

    return _names(kind).get(" ".join(normalize_name(name).split()))


@cache
def _names(kind: str) -> dict[str, str]:
    """English names of the CLDR and Wiktionary in lower case -> codes."""
    from language_data.names import load_trie
    from language_data.util import data_filename

    trie = load_trie(data_filename(f"trie/en/name_to_{kind}.marisa"))
    return {name: code.decode() for name, code in trie.items()}


def _describe_unknown(text: str) -> str:
    """Write the sentence for a text that is no language, with the languages that may be meant."""
    names, lower = _names("language"), " ".join(text.casefold().split())
    meant = sorted(name for name in names if lower and lower in name.split())
    meant = meant or difflib.get_close_matches(lower, names, n=3, cutoff=MIN_SIMILAR)
    by_code = {names[name]: f"{name.title()} ({names[name]})" for name in meant}
    near = f"; perhaps {first_few(by_code.values(), NUM_MEANT)}" if by_code else ""
    return (
        f"language {shorten(text)!r} is not a BCP-47 code such as en or zh-Hant, and not the "
        f"English name of one language{near}"
    )


def _show(code: str) -> str:
    from langcodes import Language as Tag

    return f"{code} ({Tag.get(code).display_name()})"
