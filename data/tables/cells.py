"""Values of cells: text and dates, read in the same way from every format."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few

DATE_FORMATS = (
    "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
"""Unambiguous date formats other than ISO 8601."""
BEGIN, END = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
"""First and last day of Python's calendar, in days since 1970, as arrays count them."""
Cells: TypeAlias = list[Any] | pa.ChunkedArray
"""Cells of a column: Python values, or an array (:func:`is_plain`)."""
TIME_OF_DAY = re.compile(r"[ T](?P<time>\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)$")


def cell_text(value: Any, strip: bool = True) -> str | None:
    """Convert a cell to text: 1.0 to 1, True to true, and an empty cell to None.

    Args:
        value: Text, number, boolean, date or None.
        strip: Whether white space at the ends is removed.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return (text.strip() if strip else text) or None


def is_plain(column: pa.ChunkedArray) -> bool:
    """Whether a column is read without Python values: text, integers, days of Python's calendar."""
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32())
        is_day = pc.and_(pc.greater_equal(days, BEGIN), pc.less_equal(days, END))
        return pc.all(is_day).as_py() is not False
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
    return any(is_kind(column.type) for is_kind in kinds)


def cell_texts(cells: Cells, strip: bool = True) -> pa.ChunkedArray | pa.Array:
    """Convert the cells of a column as :func:`cell_text` does, to an array of num_rows texts."""
    if isinstance(cells, list):
        is_text = {*map(type, cells)} <= {str, type(None)}  # nearly always
        texts = pa.array(cells if is_text else [cell_text(c, strip) for c in cells], pa.string())
    else:
        texts = cells.cast(pa.string())
    texts = pc.utf8_trim_whitespace(texts) if strip else texts  # as str.strip does
    return pc.if_else(pc.equal(pc.binary_length(texts), 0), None, texts)


def cell_day(
    value: Any, date_format: str | None = None, zone: ZoneInfo | None = None
) -> date | None:
    """Read the date of a cell; an empty cell has none.

    Args:
        value: A date, a time, or text in ISO 8601, in one of :data:`DATE_FORMATS` with or without
            a time, or in the format of mail headers (RFC 5322).
        date_format: The only format of text, as for :meth:`datetime.datetime.strptime`; None: the
            formats above.
        zone: Time zone to which times with an offset are converted; None: no conversion. Dates,
            and times without an offset, are never converted.

    Raises:
        ValueError: The cell is not a date, or is an ambiguous one such as 08/09/2022.
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
    if match := TIME_OF_DAY.search(text):
        day, time = text[: match.start()], match["time"].replace(" ", "")
    for usual_format in DATE_FORMATS:
        try:
            moment = datetime.strptime(day.rstrip(" ,"), usual_format)
        except ValueError:
            continue
        return datetime.fromisoformat(f"{moment.date()}T{time}") if time else moment
    return parsedate_to_datetime(text)


def plain_values(name: str, column: pa.ChunkedArray) -> list[Any]:
    """Convert the cells of a column to Python values; times lose their nanoseconds.

    Raises:
        InputError: A text is not UTF-8; all such rows are in the error.
    """
    if pa.types.is_timestamp(column.type):
        # Python has no nanoseconds, and only the date is used.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # Parquet texts should be UTF-8, but nothing checks it
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
