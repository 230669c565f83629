"""The options of the source ``mrn``, and the rules by which items of an archive become rows."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal, Self

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.dataset.languages import Languages
from xlt.data.sources.mrn.items import NewsItem
from xlt.data.sources.options import SourceOptions

RECURRING = (
    r"BUZZ\b",
    r"DIARY\b",
    r"INDICATORS\b",
    r"NYSE ORDER IMBALANCE\b",
    r"PRESS DIGEST\b",
    r"TABLE\b",
    r"TOP NEWS\b",
)
"""Beginnings of headlines that are repeated every day, in the capitals of the archive.

Users of the archive usually drop BUZZ, DIARY, TABLE and TOP NEWS. The others are further series of
the wire that list and announce, and report no news."""
USABLE = "stat:usable"
"""``pubStatus`` of items that were not withheld or withdrawn."""
ALERT_URGENCY = 1

RULES = (
    "another language",
    "not usable",
    "outside start and end",
    "alert",
    "later take",
    "recurring headline",
    "excluded subject",
    "no subjects",
    "twice in its file",
    "also in another file",
    "earlier version",
    "later version",
)
"""Reasons to drop an item, in the order of the checks; an item counts for its first reason."""


class Options(SourceOptions):
    """The files, the items of them that are kept, and the subjects that are positive."""

    source: Literal["mrn"]
    """Name in SOURCES."""
    path: str | tuple[str, ...]
    """Files (``*`` allowed in the name), or folders in which monthly files of both generations are
    searched at any depth; one or several local paths or pyarrow.fs URIs."""
    positive: tuple[str, ...] = pydantic.Field(min_length=1)
    """Subject codes with their prefix, such as N2:ESGENV; an item with any of them is class 1."""
    exclude: tuple[str, ...] = ()
    """Subject codes whose items are dropped, because their topic is close to the positive one;
    class 0 would be the wrong class for them."""
    languages: Languages = pydantic.Field(default=("en", "ja"), min_length=1)
    """Languages; items in other languages are dropped."""
    start: date | None = None
    """First day (UTC) of kept versions, by their time of creation."""
    end: date | None = None
    """Last day of kept versions, included."""
    versions: Literal["first", "last"] = "last"
    """The version of a story that is kept, among those that no other rule drops."""
    takes: Literal["first", "all"] = "first"
    """Whether only the first part of a long story is a row, or all its parts."""
    alerts: bool = False
    """Whether alerts (headlines in capitals without a body) are kept."""
    drop_headlines: tuple[str, ...] = RECURRING
    """Case-sensitive regular expressions; headlines that match one at the start are dropped."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        for pattern in self.drop_headlines:
            try:
                if re.match(pattern, ""):
                    problems.append(
                        f"drop_headlines: {pattern!r} matches every headline; remove it"
                    )
            except re.error as error:
                problems.append(f"drop_headlines: {pattern!r} is not a regular expression: {error}")
        both = sorted({*self.positive} & {*self.exclude})
        if both:
            problems.append(f"{both} are both positive and exclude; remove them from one list")
        if self.start and self.end and self.start > self.end:
            problems.append(f"start {self.start} is after end {self.end}; swap them")
        if problems:
            raise InputError(problems)
        return self


class Rules:
    """The rules about single items, prepared for millions of items.

    Args:
        options: The options of the source.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._languages = frozenset(options.languages)
        self._exclude = frozenset(options.exclude)
        self._positive = frozenset(options.positive)
        self._recurring = [re.compile(pattern).match for pattern in options.drop_headlines]
        self._start = options.start or date.min
        self._end = options.end or date.max

    def against(self, item: NewsItem) -> str | None:
        """Find the first of :data:`RULES` that drops an item; None: the item is a candidate."""
        if item.lang not in self._languages:
            return "another language"
        if item.status != USABLE:
            return "not usable"
        if not self._start <= item.moment.date() <= self._end:
            return "outside start and end"
        if item.urgency == ALERT_URGENCY and not item.has_body and not self._options.alerts:
            return "alert"
        if item.take > 1 and self._options.takes == "first":
            return "later take"
        for matches in self._recurring:  # any() over a generator takes twice as long
            if matches(item.headline):
                return "recurring headline"
        if not self._exclude.isdisjoint(item.subjects):
            return "excluded subject"
        if not item.subjects:
            return "no subjects"
        return None

    def label(self, item: NewsItem) -> int:
        """Give the class of an item: 1 if it has a positive subject, else 0."""
        return int(not self._positive.isdisjoint(item.subjects))
