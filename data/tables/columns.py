"""Names of columns in the settings of a file."""

from __future__ import annotations

from collections.abc import Mapping


def shared_columns(names: Mapping[str, str | None]) -> list[str]:
    """Find columns of a file that are named for two columns of the schema.

    Args:
        names: Column of the schema -> column of the file, or None.

    Returns:
        A sentence for each such column.
    """
    problems = []
    used: dict[str, str] = {}
    for role, column in names.items():
        if column in used:
            hint = "; a text would be its own label" if role == "label" else ""
            problems.append(
                f"columns.{used[column]} and columns.{role} are both {column!r}{hint}; "
                "name another column"
            )
        elif column is not None:
            used[column] = role
    return problems
