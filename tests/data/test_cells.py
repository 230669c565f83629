"""Cells: dates in usual formats."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_rows import (
    errors,
    load_bytes,
)

from xlt.data.core.errors import InputError
from xlt.data.tables.cells import DATE_FORMATS, cell_day


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2022-08-31", 31), ("20220831", 31), ("2022-08-31T23:30:00Z", 31), ("2022/8/31", 31),
        ("2022/08/31 23:30", 31), ("2022.08.31", 31), ("2022年8月31日", 31), ("31 Aug 2022", 31),
        ("August 31, 2022", 31), ("Aug 31, 2022 23:30:05", 31), ("2022/08/31 23:30 +0900", 31),
        ("Wed, 31 Aug 2022 23:30:00 -0400", 31),
    ],
)  # fmt: skip
def test_usual_ways_to_write_a_date_are_read(written: str, day: int) -> None:
    assert cell_day(written) == datetime.date(2022, 8, day)


@pytest.mark.parametrize(
    "written",
    ["08/09/2022", "31.8.2022", "2022", "2022-13-01", "yesterday", "1661904000", "1 2 3", "-", "0"],
)
def test_dates_that_can_be_read_in_two_ways_or_none_are_refused(written: str) -> None:
    with pytest.raises(ValueError):
        cell_day(written)


@given(st.dates(datetime.date(1990, 1, 1)), st.sampled_from([*DATE_FORMATS, "%Y-%m-%d"]))
def test_every_listed_format_reads_what_it_writes(day: datetime.date, written: str) -> None:
    assert cell_day(day.strftime(written)) == day


def test_dates_can_have_another_format_and_time_zone(tmp_path: Path) -> None:
    rows = "a,en,esg,31/08/2022 23:30 +0000\nb,en,x,01/09/2022 01:00 +0000\n"
    content = f"text,lang,label,published\n{rows}".encode()
    options = {"date_format": "%d/%m/%Y %H:%M %z"}
    days = load_bytes(tmp_path, "a.csv", content, **options).table["published"].to_pylist()
    assert days == [datetime.date(2022, 8, 31), datetime.date(2022, 9, 1)]
    there = load_bytes(tmp_path, "a.csv", content, **options, timezone="Asia/Tokyo")
    assert there.table["published"].to_pylist() == [datetime.date(2022, 9, 1)] * 2
    (problem, *_) = errors(tmp_path, "a.csv", content)
    assert problem.startswith("2 rows have a date that is not written as 2022")
    with pytest.raises(InputError, match="'%Q' is not a format of dates"):
        load_bytes(tmp_path, "a.csv", content, date_format="%Q")
    with pytest.raises(InputError, match=r"unknown time zone 'Asia/Tokio'; .*Asia/Tokyo"):
        load_bytes(tmp_path, "a.csv", content, timezone="Asia/Tokio")
