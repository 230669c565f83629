"""Settings files: YAML text as a mapping, with values replaced from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xlt.data.core.errors import InputError
from xlt.data.core.files import refuse_special
from xlt.sweep.experiment.yaml_text import parse_yaml

MAX_BYTES = 1 << 20
"""Size of the largest settings file; the largest that is shipped has 4 KB."""


def read_settings(path: str, settings: Iterable[str] = ()) -> dict[str, Any]:
    """Read the mapping in a YAML file; arguments and errors as in :func:`parse_settings`."""
    return parse_settings(read_text(path), path, settings)


def read_text(path: str) -> str:
    """Read the text of a file.

    Raises:
        InputError: The file cannot be read, is larger than :data:`MAX_BYTES`, or is not UTF-8.
    """
    file = Path(path).expanduser()
    try:
        refuse_special(file)
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"is larger than {MAX_BYTES >> 20} MiB, so it holds no settings", path)
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}; save it as UTF-8", path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error


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
        values = parse_yaml(text)
    except ValueError as error:
        raise InputError(str(error), where) from error
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
        value = parse_yaml(text) if text else ""
    except ValueError as error:
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
