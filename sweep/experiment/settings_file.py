"""Settings files: YAML text as a mapping, with values replaced from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from xlt.data.core.errors import InputError


def read_settings(path: str, settings: Iterable[str] = ()) -> dict[str, Any]:
    """Read the mapping in a YAML file; arguments and errors as in :func:`parse_settings`."""
    return parse_settings(read_text(path), path, settings)


def read_text(path: str) -> str:
    """Read the text of a file.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).expanduser().read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}; save it as UTF-8", path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error


class _SafeLoader(yaml.SafeLoader):
    """A yaml.SafeLoader that refuses a key given twice; the original keeps the last one."""


def _read_mapping(loader: _SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    double = [key for number, key in enumerate(keys) if key in keys[:number]]
    if double:
        raise yaml.MarkedYAMLError(
            problem=f"key {double[0]!r} is given twice; remove one", problem_mark=node.start_mark
        )
    loader.flatten_mapping(node)  # merge keys, <<
    return dict(loader.construct_mapping(node, deep=True))


_SafeLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _read_mapping)


def parse_settings(text: str, where: str, settings: Iterable[str] = ()) -> dict[str, Any]:
    """Parse the mapping in YAML text, without further checks.

    Args:
        text: Content of the file.
        where: Name of the file in errors.
        settings: ``key=value`` texts that replace values of the file; keys are dotted paths
            (``training.num_train_epochs=2``), values are YAML.

    Raises:
        InputError: The text is not YAML or no mapping, with the row; or a setting is not
            ``key=value``.
    """
    try:
        values = yaml.load(text, _SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        row = f"row {mark.line + 1}: " if mark else ""
        raise InputError(f"{row}{error.problem or error.context}", where) from error
    except yaml.YAMLError as error:
        raise InputError(f"is not YAML: {error}", where) from error
    if not isinstance(values, dict):
        raise InputError("is empty or not a mapping; see docs/experiments.md", where)
    for setting in settings:
        _set(values, setting)
    return values


def _set(values: dict[str, Any], setting: str) -> None:
    """Replace one value in place."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise InputError(f"--set {setting!r} is not key=value, e.g. training.num_train_epochs=2")
    try:
        value = yaml.load(text, _SafeLoader) if text else ""
    except yaml.YAMLError as error:
        raise InputError(f"--set {setting!r}: the value is not YAML: {error}") from error
    *parents, last = key.split(".")
    place: Any = values
    for number, parent in enumerate(parents):
        place = place.setdefault(parent, {}) if isinstance(place, dict) else place
        if not isinstance(place, dict):
            raise InputError(f"--set {setting!r}: {'.'.join(parents[: number + 1])} holds no keys")
    if last in ("source", "corpus") and place.get(last, value) != value:
        place.clear()  # the options of another source mean nothing to this one
    place[last] = value
