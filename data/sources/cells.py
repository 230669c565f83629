"""What a cell of a file says, the same in every format."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any


def cell_text(value: Any, strip: bool = True) -> str | None:
    """A cell as text: 1 for 1.0, true for True, None for nothing.

    Args:
        value: Text, number, boolean, date or None.
        strip: Whether white space at the ends is left out.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return (text.strip() if strip else text) or None


def cell_day(value: Any) -> date | None:
    """The date as written, whatever the time zone; None for an empty cell.

    Raises:
        ValueError: It is no date.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = cell_text(value)
    return datetime.fromisoformat(text).date() if text else None
