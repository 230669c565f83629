"""What a cell of a file says, the same in every format."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few

DATE_FORMATS = (
    "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
"""Ways to write a date beside ISO 8601 that can be read in one way only."""
TIME_OF_DAY = re.compile(r"[ T](?P<time>\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)$")


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


def cell_day(
    value: Any, date_format: str | None = None, zone: ZoneInfo | None = None
) -> date | None:
    """The date of a cell; None for an empty one.

    Args:
        value: A date or time, or one as text: ISO 8601, :data:`DATE_FORMATS` with or without a
            time, or as in mail headers (RFC 5322).
        date_format: How text is written instead, as :meth:`datetime.datetime.strptime` has it.
        zone: Where the date of a time with an offset counts; None: as written. Times without an
            offset and dates count as written anyway.

    Raises:
        ValueError: It is no date, or one that can be read in two ways, such as 08/09/2022.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    moment = value if isinstance(value, datetime) else _moment(cell_text(value), date_format)
    if moment is None:
        return None
    return (moment.astimezone(zone) if zone and moment.tzinfo else moment).date()


def _moment(text: str | None, date_format: str | None) -> datetime | None:
    if text is None:
        return None
    if date_format is not None:
        return datetime.strptime(text, date_format)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        day, time = text, ""
    if found := TIME_OF_DAY.search(text):
        day, time = text[: found.start()], found["time"].replace(" ", "")
    for known in DATE_FORMATS:
        try:
            moment = datetime.strptime(day.rstrip(" ,"), known)
        except ValueError:
            continue
        return datetime.fromisoformat(f"{moment.date()}T{time}") if time else moment
    return parsedate_to_datetime(text)


def plain_values(name: str, column: pa.ChunkedArray) -> list[Any]:
    """The cells of a column as Python has them; times lose their nanoseconds.

    Raises:
        InputError: Text is not UTF-8.
    """
    if pa.types.is_timestamp(column.type):
        # Python has no nanoseconds, and only the date is of use.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # Parquet promises UTF-8 and does not check it
        raw = column.cast(pa.binary()).to_pylist()
        bad = []
        for row, value in enumerate(raw, 1):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                bad.append(f"row {row} at byte {error.start} of the cell")
        raise InputError(
            f"column {name!r} is not UTF-8: {first_few(bad)}; write it again"
        ) from None
    return values
