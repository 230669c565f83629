"""Frozen, strict settings: the base of everything that a user can write into a file."""

from __future__ import annotations

from typing import Any, Self

import pydantic

from data.errors import InputError, unknown


class Settings(pydantic.BaseModel):
    """Immutable settings that refuse unknown keys and silent conversions from text."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, values: dict[str, Any], where: str = "") -> Self:
        """Validate ``values``; every problem is told in one :class:`InputError`.

        Args:
            values: The settings as read from YAML or JSON.
            where: The file or setting to name in the error.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise InputError([_sentence(cls, item) for item in error.errors()], where) from error


def _sentence(model: type[pydantic.BaseModel], item: Any) -> str:
    """One validation problem as a sentence with its place, value and remedy."""
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        inside = ".".join(str(part) for part in item["loc"][:-1])
        return (f"{inside}: " if inside else "") + unknown("key", str(item["loc"][-1]), known)
    value = item.get("input")
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{place}: is required"
    if isinstance(value, str) and _is_number(value):
        return f"{place}: {value!r} is text, not a number; write it as {float(value)}"
    shown = "" if isinstance(value, (dict, list)) else f" (got {value!r})"
    return f"{place}: {message}{shown}" if place else message + shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fields_at(model: type[pydantic.BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the (nested) model that ``loc`` points at."""
    fields = model.model_fields
    for part in loc:
        if isinstance(part, int) or part not in fields:
            continue
        nested = _nested_model(fields[part].annotation)
        if nested is not None:
            fields = nested.model_fields
    return list(fields)


def _nested_model(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The settings class inside an annotation such as ``tuple[Override, ...]`` or ``X | None``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _nested_model(argument)
        if found is not None:
            return found
    return None
