"""YAML of settings, parsed with limits, so that no file blocks a command or fills the memory."""

from __future__ import annotations

import re
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")

MAX_DEPTH = 50
"""Deepest nesting of lists and mappings; an experiment has 7 levels."""
MAX_VALUES = 100_000
"""Largest number of keys and values, with those that aliases repeat counted each time."""


def parse_yaml(text: str) -> Any:
    """Parse YAML.

    Raises:
        ValueError: The text is not YAML, gives a key twice, or is beyond :data:`MAX_DEPTH` or
            :data:`MAX_VALUES`; with the row if it is known.
    """
    try:
        return yaml.load(text, _SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        row = f"row {mark.line + 1}: " if mark else ""
        raise ValueError(f"{row}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {error}") from error


class _SafeLoader(yaml.SafeLoader):
    """A yaml.SafeLoader with limits; it refuses a key given twice, of which YAML keeps the last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._num_values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; an alias counts with all values of the node that it repeats.

        The check comes before values are made: ten lists of ten aliases each would be 10^10 values.
        """
        events: Any = self
        event, before = events.peek_event(), self._num_values
        self._num_values += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _problem(f"is nested deeper than {MAX_DEPTH} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self._sizes[id(node)] = self._num_values - before
        elif id(node) in self._sizes:
            self._num_values += self._sizes[id(node)]
        else:
            raise _problem("an alias repeats itself", event)
        if self._num_values > MAX_VALUES:
            raise _problem(f"more than {MAX_VALUES:,} values, with those of aliases", event)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node; PyYAML raises any error on a bad date, number or tag."""
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            raise _problem(f"{node.value[:50]!r} is no {kind}: {error}", node) from error
        if isinstance(value, str) and _NO_TEXT.search(value):
            raise _problem(r"a text holds \0 or half of a surrogate pair; remove it", node)
        return value


def _problem(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def _read_mapping(loader: _SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node in (key for key, _ in node.value if key.tag != _MERGE):
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (list, dict)):  # construct_mapping refuses these
            if key in seen:
                raise _problem(f"key {key!r} is given twice; remove one", node)
            seen.add(key)
    loader.flatten_mapping(node)  # merge keys, <<
    return dict(loader.construct_mapping(node, deep=True))


_SafeLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _read_mapping)
