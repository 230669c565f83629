"""Data patterns: the number of labelled rows in each language that a cell trains on."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal, Self

import pydantic

from xlt.data.core.errors import InputError, find_doubles
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.languages import Language, parse_language
from xlt.data.dataset.source_langs import ParsedSourceLang, SourceLang, list_source_langs
from xlt.data.dataset.translations import Direction

TranslatedRows = Literal["train", "train+source", "test"]
"""Rows of a cell that are read in translation.

``train``: the source rows, in the target language, as in XTREME's translate-train (Hu et al. 2020,
arXiv 2003.11080, section 4). ``train+source``: the source rows twice, in the target language and as
they are. ``test``: all target rows, in the source language (translate-test).
"""
SUFFIXES: dict[str, TranslatedRows] = {"tt": "train", "tts": "train+source", "te": "test"}
"""Suffix of a pattern's name -> translated rows: ja0+tt."""

# A subtag ends in a letter, so that the digits after it are the count: zh-Hant16.
PATTERN_NAME = re.compile(
    r"(?:(?P<source>[a-z]{2,3}(?:-[A-Za-z0-9]+)*):)?"
    r"(?P<lang>[a-z]{2,3}(?:-[A-Za-z0-9]*[A-Za-z])*)(?P<rows>0|[1-9][0-9]*)"
    rf"(?:\+(?P<suffix>{'|'.join(SUFFIXES)}))?"
)
SPELLED = re.compile(r"(?P<lang>\S(?:.*[^0-9+\s])?)(?P<rest>(?:0|[1-9][0-9]*)(?:\+[a-z]+)?)")
"""A name with any spelling of the language: jpn_Jpan16, Japanese16+tt."""


class Window(Settings):
    """A span of publication dates that includes both ends."""

    start: datetime.date
    """First day."""
    end: datetime.date
    """Last day."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"window ends {self.end} before it starts {self.start}; swap them")
        return self

    def __str__(self) -> str:
        """The form in messages."""
        return f"{self.start}..{self.end}"

    def holds(self, day: datetime.date | None) -> bool:
        """Whether a day is in the span; no day is in none."""
        return day is not None and self.start <= day <= self.end


class Pattern(Settings):
    """The number of labelled rows in each language that a cell trains on (paper, table 2)."""

    name: str
    """Name in tables, e.g. ``ja16``."""
    target_lang: str
    """Language of the few-shot and test rows (BCP-47)."""
    target_rows: int = pydantic.Field(ge=0)
    """Training rows in the target language."""
    source_rows: int = pydantic.Field(default=1024, ge=0)
    """Training rows in the source language."""
    translate: TranslatedRows | None = added_later(None)
    """Rows that are read in translation; None: none."""
    source_lang: ParsedSourceLang | None = added_later(None)
    """Language of the source rows, or several among which they are divided evenly
    (:func:`divide_rows`). None: that of the task; always in a trial, whose spec has it."""

    @pydantic.model_validator(mode="after")
    def _as_named(self) -> Self:
        match = PATTERN_NAME.fullmatch(self.name)
        if match and (match["lang"], int(match["rows"])) != (self.target_lang, self.target_rows):
            raise ValueError(
                f"{self.name}: the name says {match['rows']} {match['lang']} rows, the fields say "
                f"{self.target_rows} {self.target_lang} rows; correct one of them, or take a name "
                "that is not a language and a count"
            )
        if match and match["source"] and self.source_lang not in (None, match["source"]):
            raise ValueError(
                f"{self.name}: the name says source_lang: {match['source']}, the fields say "
                f"{self.source_lang}; correct one of them, or take another name"
            )
        named = SUFFIXES.get(match["suffix"]) if match else self.translate
        # A monolingual base model trains on the translations alone.
        is_restricted = (named, self.translate) == ("train+source", "train")
        if named != self.translate and not is_restricted:
            raise ValueError(
                f"{self.name}: the name says translate: {named or 'null'}, the fields say "
                f"{self.translate or 'null'}; correct one of them, or take another name"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _something_to_translate(self) -> Self:
        if self.translate in ("train", "train+source") and not self.source_rows:
            raise ValueError(f"{self.name}: has no source rows to translate; set source_rows")
        if self.translate == "test" and isinstance(self.source_lang, tuple):
            raise ValueError(
                f"{self.name}: test rows cannot be translated into {' and '.join(self.source_lang)}"
                "; name one source_lang"
            )
        return self

    @property
    def num_train_rows(self) -> int:
        """Number of training rows; source rows that are read in both languages count twice."""
        times = 2 if self.translate == "train+source" else 1
        return times * self.source_rows + self.target_rows

    def list_train_langs(self, source_lang: SourceLang) -> tuple[str, ...]:
        """List the languages in which training rows are read.

        Args:
            source_lang: Language of the source rows, or several.
        """
        sources = list_source_langs(source_lang)
        if self.translate == "train":
            return (self.target_lang,)
        if self.translate == "test":
            return sources
        has_target = self.target_rows or self.translate
        read = *(sources if self.source_rows else ()), *([self.target_lang] if has_target else ())
        return tuple(dict.fromkeys(read))

    def directions(self, source_lang: SourceLang) -> tuple[Direction, ...]:
        """List the directions in which rows are translated, one for each source language.

        Args:
            source_lang: Language of the source rows, or several.
        """
        if self.translate is None:
            return ()
        read = [Direction(lang, self.target_lang) for lang in list_source_langs(source_lang)]
        return tuple(d if self.translate != "test" else d.reversed for d in read)

    def refuse_no_rows(self) -> None:
        """Raise ValueError if there are no training rows; only prompts need none."""
        if not self.source_rows + self.target_rows:
            raise ValueError(f"{self.name}: has no training rows; set source_rows or target_rows")


class Balance(Settings):
    """Numbers of test rows of each of two classes."""

    positive: int = pydantic.Field(gt=0)
    """Test rows of class 1."""
    negative: int = pydantic.Field(gt=0)
    """Test rows of class 0."""


class Sampling(Settings):
    """Settings of the draws, the same for all cells of an experiment."""

    test_rows: int = pydantic.Field(default=512, gt=0)
    """Test rows in each test language, the same for every pattern, model and seed."""
    test_langs: (
        Literal["all"] | Annotated[tuple[Language, ...], pydantic.Field(min_length=1)] | None
    ) = added_later(None)
    """Languages in which every trial is tested (BCP-47), and then the target languages of all
    patterns. all: every language in which each class has rows. A language with fewer rows than
    ``test_rows`` is tested on those that it has. None: a trial is tested in its target language."""
    test_balance: Literal["1:1", "natural"] | Balance = added_later("1:1")
    """Classes of the test rows: equally many rows of each (1:1), the shares that the data have
    (natural), or a number for each of two classes. Training rows are always balanced. More rows of
    a class contain the fewer ones that another balance draws."""
    train_window: Window | None = None
    """Publication dates of training rows; null: any."""
    test_window: Window | None = None
    """Publication dates of test rows; null: any."""
    draw_seed: int = 0
    """Seed of the draws; another seed draws other rows."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _count_test_rows(cls, values: Any) -> Any:
        """Make ``test_rows`` the sum of the numbers in ``test_balance``."""
        if not isinstance(values, dict) or "test_balance" not in values:
            return values
        balance = values["test_balance"]
        try:
            counts = Balance.model_validate(balance) if isinstance(balance, dict) else balance
        except pydantic.ValidationError:
            return values  # reported with the other problems
        if not isinstance(counts, Balance):
            return values
        total = counts.positive + counts.negative
        if values.get("test_rows", total) != total:
            raise ValueError(
                f"test_rows {values['test_rows']} is not the sum of test_balance; set it to "
                f"{total}, or remove it"
            )
        return values | {"test_rows": total}

    @pydantic.field_validator("test_langs")
    @classmethod
    def _different(cls, langs: Any) -> Any:
        if isinstance(langs, tuple) and (double := find_doubles(langs)):
            raise ValueError(f"{', '.join(double)} given more than once")
        return langs

    def list_test_langs(self, pattern: Pattern) -> tuple[str, ...]:
        """List the languages whose test rows are kept from the training rows of a pattern.

        ``all`` must have been replaced by the languages (:func:`resolve_test_langs`).
        """
        if self.test_langs is None:
            return (pattern.target_lang,)
        assert self.test_langs != "all"
        return self.test_langs

    @pydantic.field_validator("test_balance", mode="before")
    @classmethod
    def _yaml_ratio(cls, value: Any) -> Any:
        return "1:1" if value == 61 else value  # YAML 1.1 reads 1:1 as minutes and seconds

    @pydantic.model_validator(mode="after")
    def _disjoint(self) -> Self:
        train, test = self.train_window, self.test_window
        if train and test and train.start <= test.end and test.start <= train.end:
            raise ValueError(f"train_window {train} overlaps test_window {test}; separate them")
        return self


def spell_pattern_name(name: str) -> str:
    """Give a pattern's name the codes of its languages: ja16 for jpn_Jpan16; keep other names."""
    source, colon, target = name.rpartition(":")
    match = SPELLED.fullmatch(target)
    try:
        source = parse_language(source) if colon else ""
        return source + colon + parse_language(match["lang"]) + match["rest"] if match else name
    except InputError:
        return name


def parse_pattern_name(name: str) -> Pattern:
    """Parse a name of the paper: ``ja16`` is 1024 source rows and 16 Japanese rows.

    A suffix of :data:`SUFFIXES` says which rows are read in translation, e.g. ``ja16+tt``. The
    source language may stand in front: ``de:ja16``.

    Raises:
        InputError: The name is not a language followed by a count.
    """
    name = spell_pattern_name(name)
    match = PATTERN_NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"pattern {name!r} is not a language code and a count such as ja16, which "
            f"{', '.join(f'+{suffix}' for suffix in SUFFIXES)} may follow for translated rows; "
            "write {" + name + ": {target_lang: .., target_rows: .., source_rows: ..}} instead"
        )
    values = {
        "name": name,
        "target_lang": parse_language(match["lang"]),
        "target_rows": int(match["rows"]),
        "source_lang": match["source"],
    }
    return Pattern.parse(values | {"translate": SUFFIXES.get(match["suffix"])})
