"""The source ``mrn``: headlines of LSEG's Machine Readable News, labelled by subject codes.

The archive has monthly files with one item on each line, in two generations that may cover the
same months (files.py). A story has several versions and takes. Each row is one headline.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_few
from xlt.data.dataset.schema import Dataset
from xlt.data.sources.mrn.files import ArchiveFile, find_archive_files
from xlt.data.sources.mrn.read import FileRows, read_parallel
from xlt.data.sources.mrn.rules import RULES, Options
from xlt.data.sources.reading import Progress, Reading

__all__ = ["Options", "read"]

MAX_CODES_SHOWN = 8
"""Most similar subject codes that an error lists for a misspelt one."""

ReadFiles = Callable[[Sequence[ArchiveFile], Options, Progress], list[FileRows]]
"""Function that reads files, and gives the rows of each in the same order."""
Mask = npt.NDArray[np.bool_]


def read(options: Options, progress: Progress, read_files: ReadFiles = read_parallel) -> Reading:
    """Read an archive.

    The id of a row is the item's ``guid``, its story ``altId``, its text the headline, and its date
    the day of ``versionCreated`` in UTC, when this wording appeared. ``firstCreated`` may be
    earlier, so that a window could contain a text that was not yet written.

    Args:
        options: The options of the source.
        progress: Function that is called with the number of stored bytes read so far.
        read_files: Function that reads the files, e.g. on a cluster; by default in processes of
            this machine. All give the same result.

    Returns:
        One row for each story and language (for each take, with ``takes: all``), sorted by time
        and guid; the number of items that each of :data:`RULES` dropped; and as rejects the lines
        that could not be read and the files that are incomplete, damaged or no archive. An item in
        two files, such as those of both generations, is counted twice, the second time as dropped.

    Raises:
        InputError: There are no such files, no items, no rows in one of the languages, or a
            subject code of the options occurs in no item.
    """
    paths = (options.path,) if isinstance(options.path, str) else options.path
    where = ", ".join(paths)
    files = find_archive_files(paths)
    file_rows = read_files(files, options, progress)
    table, dropped = _merge(file_rows, options)
    rejects = pa.concat_tables(rows.rejects for rows in file_rows)
    problems = _problems(file_rows, table, dropped, rejects, options)
    if problems:
        raise InputError(problems, where)
    headlines = pa.table(
        {
            "id": table["guid"],
            "text": table["text"],
            "lang": table["lang"],
            "label": table["label"],
            "published": table["moment"].cast(pa.date32()),
            "story": table["story"],
            "source": pa.repeat("mrn", len(table)),
        }
    )
    num_dropped = {rule: dropped[rule] for rule in RULES if dropped[rule]}
    return Reading(Dataset.from_table(headlines, where), num_dropped, rejects)


def _merge(file_rows: list[FileRows], options: Options) -> tuple[pa.Table, Counter[str]]:
    """Merge the candidates of all files, and keep each item and each story once.

    Returns:
        num_rows x CANDIDATES_SCHEMA and ``file``, sorted by time and guid; rule -> number of items
        that it dropped.
    """
    table = pa.concat_tables(
        rows.candidates.append_column("file", pa.array([number] * len(rows.candidates), pa.int32()))
        for number, rows in enumerate(file_rows)
    )
    dropped = sum((rows.dropped for rows in file_rows), Counter[str]())
    table = _sorted(table, "guid", "file", "line")
    is_again, is_in_file = _repeats(table, "guid"), _repeats(table, "guid", "file")
    dropped["twice in its file"] = int(is_in_file.sum())
    dropped["also in another file"] = int((is_again & ~is_in_file).sum())
    table = table.filter(pa.array(~is_again))

    table = _sorted(table, "story", "lang", "take", "moment", "guid")
    is_later = _repeats(table, "story", "lang", "take")
    if options.versions == "first":
        dropped["later version"], is_kept = int(is_later.sum()), ~is_later
    else:
        dropped["earlier version"], is_kept = int(is_later.sum()), ~np.roll(is_later, -1)
    return _sorted(table.filter(pa.array(is_kept)), "moment", "guid"), dropped


def _sorted(table: pa.Table, *names: str) -> pa.Table:
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))


def _repeats(table: pa.Table, *names: str) -> Mask:
    """Mark rows with the same values in these columns as the row before."""
    is_repeat = np.zeros(len(table), np.bool_)
    if len(table) > 1:
        is_repeat[1:] = True
        for name in names:
            column = table[name].combine_chunks()
            is_repeat[1:] &= pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return is_repeat


def _problems(
    file_rows: list[FileRows],
    table: pa.Table,
    dropped: Counter[str],
    rejects: pa.Table,
    options: Options,
) -> list[str]:
    """Write a sentence for each language or subject code of the options without items."""
    languages = sum((rows.languages for rows in file_rows), Counter[str]())
    if not languages:
        lines = (f"{r['file']} line {r['row']} {r['reason']}" for r in rejects.to_pylist())
        why = (
            f"{len(rejects)} problems: {first_few(lines)}"
            if len(rejects)
            else "the files are empty"
        )
        if options.start or options.end:
            why += ", or cover other days than start and end"
        return [f"no item could be read; {why}"]
    subjects = set[str]().union(*(rows.subjects for rows in file_rows))
    problems = [
        f"{role}: no item has it; " + unknown("subject code", code, _near(code, subjects))
        for role in ("positive", "exclude")
        for code in getattr(options, role)
        if code not in subjects
    ]
    rules = ", ".join(f"{rule} {dropped[rule]}" for rule in RULES if dropped[rule])
    kept = set(table["lang"].unique().to_pylist())
    for lang in options.languages:
        if lang not in languages:
            problems.append("languages: " + unknown("language", lang, languages))
        elif lang not in kept:
            problems.append(
                f"no {lang} row is left of {languages[lang]} {lang} items; dropped from all "
                f"{languages.total()} items: {rules}; relax these rules or remove {lang} from "
                "languages"
            )
    return problems


def _near(code: str, subjects: set[str]) -> list[str]:
    """List the codes that are most similar, ignoring case; all codes would be too many."""
    folded = {subject.casefold(): subject for subject in sorted(subjects)}
    near = difflib.get_close_matches(code.casefold(), folded, n=MAX_CODES_SHOWN, cutoff=0)
    return [folded[name] for name in near]
