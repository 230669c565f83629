"""The Reuters archive: headlines of LSEG's Machine Readable News, labelled by subject codes.

Monthly files of one item a line, in two generations that may cover the same months
(files.py); one story has several versions and takes. Each row is one headline.
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
from xlt.data.sources.mrn.read import FileRows, read_parts
from xlt.data.sources.mrn.rules import RULES, Options
from xlt.data.sources.reading import Progress, Reading

__all__ = ["Options", "read"]

MAX_CODES_SHOWN = 8
"""Subject codes near a misspelt one that an error lists."""

ReadFiles = Callable[[Sequence[ArchiveFile], Options, Progress], list[FileRows]]
"""Files to what each gave, in their order."""
Mask = npt.NDArray[np.bool_]


def read(options: Options, progress: Progress, read_files: ReadFiles = read_parts) -> Reading:
    """Read an archive.

    A row's id is the item's ``guid``, its story ``altId``, its text the headline and its date that
    of ``versionCreated`` in UTC: when this wording appeared, while ``firstCreated`` may lie before
    it and would let a window hold what was not yet written.

    Args:
        options: Which files and items.
        progress: Told of the stored bytes.
        read_files: Reads them side by side, in processes of this machine unless told otherwise.
            The result is the same.

    Returns:
        One row for each story and language (for each take, with ``takes: all``), ordered by time
        and guid; items that :data:`RULES` left out by rule; lines that
        could not be read, and one reject for each file that is cut off, damaged or no archive. An
        item that stands in two files, as in those of both generations, is read twice and counted
        at the second time under the rule that left it out.

    Raises:
        InputError: No such files, no item, no row of one of the languages, or a subject code in
            the options that no item has.
    """
    paths = (options.path,) if isinstance(options.path, str) else options.path
    where = ", ".join(paths)
    files = find_archive_files(paths)
    parts = read_files(files, options, progress)
    table, dropped = _merge(parts, options)
    rejects = pa.concat_tables(part.rejects for part in parts)
    problems = _problems(parts, table, dropped, rejects, options)
    if problems:
        raise InputError(problems, where)
    rows = pa.table(
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
    account = {rule: dropped[rule] for rule in RULES if dropped[rule]}
    return Reading(Dataset.from_table(rows, where), account, rejects)


def _merge(parts: list[FileRows], options: Options) -> tuple[pa.Table, Counter[str]]:
    """The candidates of all files that are left when each item and each story counts once.

    Returns:
        num_rows x CANDIDATES_SCHEMA and ``file``, by time and guid; rule -> items left out.
    """
    table = pa.concat_tables(
        part.candidates.append_column("file", pa.array([number] * len(part.candidates), pa.int32()))
        for number, part in enumerate(parts)
    )
    dropped = sum((part.dropped for part in parts), Counter[str]())
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
    """Which rows have the same values in these columns as the row before; the first has not."""
    is_repeat = np.zeros(len(table), np.bool_)
    if len(table) > 1:
        is_repeat[1:] = True
        for name in names:
            column = table[name].combine_chunks()
            is_repeat[1:] &= pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return is_repeat


def _problems(
    parts: list[FileRows],
    table: pa.Table,
    dropped: Counter[str],
    rejects: pa.Table,
    options: Options,
) -> list[str]:
    """Why the rows are not what was asked for."""
    languages = sum((part.languages for part in parts), Counter[str]())
    if not languages:
        lines = (f"{r['file']} line {r['row']} {r['reason']}" for r in rejects.to_pylist())
        why = (
            f"{len(rejects)} problems: {first_few(lines)}"
            if len(rejects)
            else "the files are empty"
        )
        if options.start or options.end:
            why += ", or of other days than start and end"
        return [f"no item could be read; {why}"]
    subjects = set[str]().union(*(part.subjects for part in parts))
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
                f"no {lang} row is left of {languages[lang]} {lang} items; left out of all "
                f"{languages.total()} items: {rules}; loosen these rules or remove {lang} from "
                "languages"
            )
    return problems


def _near(code: str, subjects: set[str]) -> list[str]:
    """The codes most like one, all of them being too many to list; letter case does not count."""
    folded = {subject.casefold(): subject for subject in sorted(subjects)}
    near = difflib.get_close_matches(code.casefold(), folded, n=MAX_CODES_SHOWN, cutoff=0)
    return [folded[name] for name in near]
