"""Which items of a Machine Readable News archive become rows: the options and their rules."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal, Self

import pydantic

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import LANG
from xlt.data.sources.mrn.items import Item
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
"""Headlines that come again every day, by how they start, in the archive's own capitals.

BUZZ, DIARY, TABLE and TOP NEWS are what users of the archive leave out; the others are further
series of the wire that list and announce instead of telling news."""
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
"""Why items are left out, in the order in which it is asked; an item counts under the first."""


class Options(SourceOptions):
    """Which files, which items of them, which subjects are positive."""

    source: Literal["mrn"]
    """Name in SOURCES."""
    path: str | tuple[str, ...]
    """Files (``*`` allowed in the name) or folders, which are searched to any depth for monthly
    files of both generations; local paths or pyarrow.fs URIs, one or several."""
    positive: tuple[str, ...] = pydantic.Field(min_length=1)
    """Subject codes with their prefix, such as N2:ESGENV; an item with any of them is class 1."""
    exclude: tuple[str, ...] = ()
    """Subject codes whose items are left out of both classes, because their topic borders on the
    positive one; they would be wrong in class 0."""
    languages: tuple[str, ...] = pydantic.Field(default=("en", "ja"), min_length=1)
    """Languages as the archive spells them; items in others are left out."""
    start: date | None = None
    """First day (UTC) on which a version that is kept was created."""
    end: date | None = None
    """Last such day, included."""
    versions: Literal["first", "last"] = "last"
    """Which one of a story's versions is kept, of those that no other rule leaves out."""
    takes: Literal["first", "all"] = "first"
    """Whether the parts that long stories are delivered in, after the first, are rows too."""
    alerts: bool = False
    """Whether alerts, headlines in capitals without a body, are rows too."""
    drop_headlines: tuple[str, ...] = RECURRING
    """Regular expressions, case-sensitive; a headline that one matches at its start is left out."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            f"languages: {lang!r} is no language code such as en or ja"
            for lang in self.languages
            if not LANG.fullmatch(lang)
        ]
        for pattern in self.drop_headlines:
            try:
                if re.match(pattern, ""):
                    problems.append(
                        f"drop_headlines: {pattern!r} matches every headline; remove it"
                    )
            except re.error as error:
                problems.append(f"drop_headlines: {pattern!r} is no regular expression: {error}")
        both = sorted({*self.positive} & {*self.exclude})
        if both:
            problems.append(f"{both} are both positive and exclude; remove them from one list")
        if self.start and self.end and self.start > self.end:
            problems.append(f"start {self.start} is after end {self.end}; swap them")
        if problems:
            raise InputError(problems)
        return self


class Rules:
    """The rules that look at one item, made ready for millions of them.

    Args:
        options: What to keep.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._languages = frozenset(options.languages)
        self._exclude = frozenset(options.exclude)
        self._positive = frozenset(options.positive)
        self._recurring = [re.compile(pattern).match for pattern in options.drop_headlines]
        self._start = options.start or date.min
        self._end = options.end or date.max

    def against(self, item: Item) -> str | None:
        """The first of :data:`RULES` that leaves the item out; none: it is a candidate."""
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

    def label(self, item: Item) -> int:
        """1 if the item has a positive subject, else 0."""
        return int(not self._positive.isdisjoint(item.subjects))
