"""Short forms in an experiment file: names in place of base models and patterns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.dataset.languages import parse_language
from xlt.data.dataset.patterns import Pattern, parse_pattern_name
from xlt.trainables.models.base_models import BASE_MODELS, BaseModel, derive_name, find_base_model
from xlt.trainables.spec.methods import BASELINES


def parse_each(values: Any, parse: Any) -> Any:
    """Parse every item of a list, and raise the problems of all items together."""
    if not isinstance(values, (list, tuple)):
        return values
    items, problems = [], []
    for number, value in enumerate(values):
        try:
            items.append(parse(value))
        except InputError as error:
            problems += [f"item {number + 1}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return items


def parse_model(value: Any) -> BaseModel:
    """Parse a known name, a hub id, a folder, or settings; a known name completes settings."""
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, str):
        if value not in BASE_MODELS and ("/" in value or Path(value).expanduser().is_dir()):
            return BaseModel(name=derive_name(value), path=value)
        return find_base_model(value)
    if not isinstance(value, dict):
        raise InputError(
            f"{value!r} is neither a known name, a hub id, a folder, nor {{name, path}}"
        )
    known = BASE_MODELS.get(str(value.get("name")))
    not_for_method = {"learning_rate"} if value.get("method") in BASELINES else set()
    if "path" not in value:
        known_values = known.model_dump(exclude=not_for_method) if known else {}
        return BaseModel.parse(known_values | value).with_codes()
    # Revision and kind belong to the path of the known model.
    excluded = {"revision", "kind"} | not_for_method
    kept = known.model_dump(exclude=excluded) if known else {}
    return BaseModel.parse({"name": derive_name(str(value["path"]))} | kept | value).with_codes()


def for_each_source_lang(pattern: Pattern, langs: Sequence[str]) -> list[Pattern]:
    """Copy a pattern for each source language, whose code then begins its name.

    A pattern that names its own, or that reads no source rows and no translations, stays as it is.
    """
    if pattern.source_lang or not (pattern.source_rows or pattern.translate):
        return [pattern]
    return [
        pattern.model_copy(update={"name": f"{lang}:{pattern.name}", "source_lang": lang})
        for lang in langs
    ]


def parse_pattern(value: Any) -> Pattern:
    """Parse a name such as ja16, or ``{name: settings}``."""
    if isinstance(value, Pattern):
        return value
    if isinstance(value, str):
        return parse_pattern_name(value)
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), dict):
        ((name, fields),) = value.items()
        if "target_lang" in fields:
            fields = fields | {"target_lang": parse_language(str(fields["target_lang"]))}
        try:
            implied = parse_pattern_name(str(name)).model_dump()
        except InputError:
            implied = {"name": str(name)}  # a free name: the fields must be complete
        return Pattern.parse(implied | fields)
    raise InputError(f"{value!r} is neither a name such as ja16 nor {{name: {{target_rows: ..}}}}")
