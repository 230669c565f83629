"""Data patterns: the number of labelled rows in each language that a cell trains on."""

from __future__ import annotations

import datetime
import re
from typing import Self

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.core.settings import Settings

# A subtag ends in a letter, so that the digits after it are the count: zh-Hant16.
PATTERN_NAME = re.compile(r"(?P<lang>[a-z]{2,3}(?:-[A-Za-z0-9]*[A-Za-z])*)(?P<rows>0|[1-9][0-9]*)")


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

    @pydantic.model_validator(mode="after")
    def _some_rows(self) -> Self:
        if not self.source_rows + self.target_rows:
            raise ValueError(f"{self.name}: has no training rows; set source_rows or target_rows")
        return self

    @pydantic.model_validator(mode="after")
    def _as_named(self) -> Self:
        match = PATTERN_NAME.fullmatch(self.name)
        if match and (match["lang"], int(match["rows"])) != (self.target_lang, self.target_rows):
            raise ValueError(
                f"{self.name}: the name says {match['rows']} {match['lang']} rows, the fields say "
                f"{self.target_rows} {self.target_lang} rows; correct one of them, or take a name "
                "that is not a language and a count"
            )
        return self


class Sampling(Settings):
    """Settings of the draws, the same for all cells of an experiment."""

    test_rows: int = pydantic.Field(default=512, gt=0)
    """Test rows in the target language, balanced, the same for every pattern, model and seed."""
    train_window: Window | None = None
    """Publication dates of training rows; null: any."""
    test_window: Window | None = None
    """Publication dates of test rows; null: any."""
    draw_seed: int = 0
    """Seed of the draws; another seed draws other rows."""

    @pydantic.model_validator(mode="after")
    def _disjoint(self) -> Self:
        train, test = self.train_window, self.test_window
        if train and test and train.start <= test.end and test.start <= train.end:
            raise ValueError(f"train_window {train} overlaps test_window {test}; separate them")
        return self


def parse_pattern_name(name: str) -> Pattern:
    """Parse a name of the paper: ``ja16`` is 1024 source rows and 16 Japanese rows.

    Raises:
        InputError: The name is not a language code followed by a count.
    """
    match = PATTERN_NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"pattern {name!r} is not a language code and a count such as ja16; "
            "write {" + name + ": {target_lang: .., target_rows: .., source_rows: ..}} instead"
        )
    return Pattern.parse(
        {"name": name, "target_lang": match["lang"], "target_rows": int(match["rows"])}
    )
