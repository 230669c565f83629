"""Extension of griffe: a name in a docstring, written with a role of Sphinx, becomes code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|data|mod|attr):`~?([^`]+)`")


class DocstringRoles(griffe.Extension):
    """Replaces roles, which the Markdown of the API page does not know."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Replace the roles in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
