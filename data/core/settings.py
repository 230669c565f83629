"""Frozen, strict settings: the base class of all blocks that a user writes into a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType
from typing import Any, Literal, Self, get_args, get_origin

import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.locations import refuse_secrets
from xlt.data.core.text import shorten

KeyPath = tuple[str | int, ...]
MAX_INT = 10**18
"""Largest integer, which 64 bits hold, as they do in tables."""
BY_YAML = ", because YAML reads yes, no, on and off as true and false"
MAX_PROBLEMS = 20
"""Problems that an error lists; a file of another kind has thousands."""


class Settings(pydantic.BaseModel):
    """Immutable settings that refuse unknown keys, secrets, and text where a number belongs."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def parse(cls, values: dict[str, Any], where: str = "") -> Self:
        """Validate settings.

        Args:
            values: The settings as read from YAML or JSON.
            where: The file or setting that the error names.

        Raises:
            InputError: All problems together.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            items = error.errors(include_url=False)
            problems = _sentences(cls, items[:MAX_PROBLEMS], values)
            if len(items) > MAX_PROBLEMS:
                problems.append(f"and {len(items) - MAX_PROBLEMS:,} more")
            raise InputError(problems, where) from error

    def as_given(self) -> dict[str, Any]:
        """The settings as plain values, without those that were left at their defaults."""
        return self.model_dump(mode="json", exclude_unset=True)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _check_value(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Refuse text and truth values that pydantic would silently turn into numbers.

        A URI with a secret is refused, too, because settings are copied into results and errors.
        One function does both, because thousands of trials are validated.
        """
        if isinstance(value, str):
            refuse_secrets(value)
        if _is_number(cls, str(info.field_name)):
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, bool):
                    raise ValueError(f"{item!r} is true or false, not a number")
                if isinstance(item, str):
                    raise ValueError(f"{shorten(item)!r} is text, not a number{_as_number(item)}")
                if isinstance(item, int) and abs(item) > MAX_INT:
                    raise ValueError(f"an integer of more than {len(str(MAX_INT)) - 1} digits")
                if isinstance(item, float) and not math.isfinite(item):
                    raise ValueError(f"should be a finite number (got {item})")
        return value


def added_later(default: Any) -> Any:
    """Declare a field that was added after results existed.

    The field is written only if it differs from its default. So the identities of trials that were
    written without it do not change.
    """
    return pydantic.Field(default=default, exclude_if=lambda value: value == default)


@cache
def _is_number(model: type[pydantic.BaseModel], field: str) -> bool:
    """Whether a field holds only numbers; cached, because thousands of trials are validated."""
    leaves = set(_leaves(model.model_fields[field].annotation))
    return bool(leaves & {int, float}) and leaves <= {int, float, NoneType}


def _as_number(text: str) -> str:
    """Write the remedy for a number that YAML 1.1 reads as text, such as 5e-4.

    Returns:
        The end of a sentence; empty if the text is no number.
    """
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    return f"; write it as {int(number) if number.is_integer() and '.' not in text else number}"


def _sentences(model: type[pydantic.BaseModel], items: list[Any], values: Any) -> list[str]:
    """Turn the problems of pydantic into sentences with place, value and remedy."""
    problems: list[str] = []
    unions: dict[KeyPath, dict[Any, list[tuple[KeyPath, list[str]]]]] = {}
    for item in items:
        place, union, alternative = _locate(item, values)
        phrases = _phrase(model, item, place)
        if union is None:
            problems += [_at(place, phrase) for phrase in phrases]
        else:
            unions.setdefault(union, {}).setdefault(alternative, []).append((place, phrases))
    for alternatives in unions.values():
        # Each alternative of a union has problems; the user meant the one that fits best.
        ranks = {key: _misfit(located) for key, located in alternatives.items()}
        by_place: dict[KeyPath, list[str]] = {}
        for key, located in alternatives.items():
            if ranks[key] == min(ranks.values()):
                for place, phrases in located:
                    by_place.setdefault(place, []).extend(phrases)
        problems += [_at(p, ", or ".join(dict.fromkeys(texts))) for p, texts in by_place.items()]
    return problems


def _misfit(located: list[tuple[KeyPath, list[str]]]) -> tuple[int, int]:
    """Rank an alternative, best first: by few problems, then by problems deep inside."""
    return len(located), -max(len(place) for place, _ in located)


def _locate(item: Any, values: Any) -> tuple[KeyPath, KeyPath | None, str | int]:
    """Find the place of a problem in ``values``, without the union tags that pydantic inserts.

    Returns:
        The place of the problem; the place of the outermost union around it, or None; and the tag
        of the alternative in that union.
    """
    place: list[str | int] = []
    union: KeyPath | None = None
    tag: str | int = ""
    inside = values
    loc = item["loc"]
    for number, part in enumerate(loc):
        is_index = isinstance(inside, (list, tuple)) and part in range(len(inside))
        if is_index or (isinstance(inside, Mapping) and part in inside):
            inside = inside[part]
        elif item["type"] != "missing" or number < len(loc) - 1:
            if union is None and place:
                union, tag = tuple(place), part
            continue
        place.append(part)
    if item["type"] in ("extra_forbidden", "invalid_key"):
        place.pop()  # the sentence names the key
    return tuple(place), union, tag


def _at(place: KeyPath, phrase: str) -> str:
    return f"{'.'.join(map(str, place))}: {phrase}" if place else phrase


def _phrase(model: type[pydantic.BaseModel], item: Any, place: KeyPath) -> list[str]:
    """Describe a problem without its place; a validator may report several problems."""
    kind, value = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return [unknown("key", str(item["loc"][-1]), _fields_at(model, item["loc"][:-1]))]
    if kind == "missing":
        return ["is required"]
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        inside = "" if cause.where in ("", *map(str, place[-1:])) else f"{cause.where}: "
        return [inside + problem for problem in cause.problems]
    if kind == "value_error":
        return [str(cause)]
    message = str(item["msg"])
    if kind == "invalid_key":
        return [f"key {value!r} is no text; put it in quotes{BY_YAML * isinstance(value, bool)}"]
    if kind == "too_short":
        return ["is empty; give at least one"]
    if kind in ("model_type", "dict_type"):
        message = "should be a mapping of keys to values"
    shown = "" if isinstance(value, (dict, list, tuple)) else f" (got {shorten(repr(value))})"
    if isinstance(value, bool) and kind == "string_type":
        shown += f"; put it in quotes{BY_YAML}"
    return [message.replace("Input should", "should", 1) + shown]


def _fields_at(model: type[pydantic.BaseModel], loc: KeyPath) -> list[str]:
    """List the fields of the (nested) model at ``loc``."""
    options = [model]
    for part in loc:
        annotations = [o.model_fields[part].annotation for o in options if part in o.model_fields]
        tagged = [option for option in options if part in _tags(option)]
        if tagged and not annotations:
            options = tagged
            continue
        nested = [leaf for a in annotations for leaf in _leaves(a) if _is_model(leaf)]
        options = nested or options
    return list(
        dict.fromkeys(f.alias or n for option in options for n, f in option.model_fields.items())
    )


def _tags(model: type[pydantic.BaseModel]) -> set[Any]:
    """List the tags that pydantic may use for a model among the alternatives of a union."""
    annotations = (field.annotation for field in model.model_fields.values())
    return {model.__name__}.union(*(get_args(a) for a in annotations if get_origin(a) is Literal))


def _is_model(leaf: Any) -> bool:
    return isinstance(leaf, type) and issubclass(leaf, pydantic.BaseModel)


def _leaves(annotation: Any) -> Iterator[Any]:
    """List the types in an annotation: ``tuple[int, ...] | None`` has ``int`` and ``NoneType``."""
    arguments = () if get_origin(annotation) is Literal else get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        if argument is not Ellipsis:
            yield from _leaves(argument)
