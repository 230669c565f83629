"""Registries that name code as text, so that torch, Ray and the like are imported only on use."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load_entry(registry: Mapping[str, str], name: str) -> Any:
    """Import the code that a registry names.

    Args:
        registry: Name -> ``package.module``, or ``package.module:attribute``.
        name: A name in the registry.

    Returns:
        The module, or its attribute, such as a function or class.

    Raises:
        KeyError: The name is not in the registry; callers refuse unknown names of users first.
    """
    module, _, attribute = registry[name].partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded
