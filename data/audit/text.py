"""The check ``text``: texts that are empty, too long, or have invisible or lost characters."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding, Severity
from xlt.data.dataset.schema import Dataset

MAX_CHARACTERS = 1000
"""Most characters of a headline; a longer text is an article. By default (``max_length``) base
models read 128 tokens, about 500 characters of English. 16 of 13,537 lead sentences of Wikinews are
longer than the limit."""

PART = 50_000
"""Rows that are checked at once."""

_VISIBLE = r"[^\p{Z}\p{C}\s]"
_MARKUP = (
    r"(?:https?|ftp)://[^\s\p{Lo}]+|www\.[^\s\p{Lo}]+"  # stops at Japanese text glued to it
    r"|<!--.*?-->|</?[A-Za-z][^<>]*>"
    r"|&(?:#[0-9]+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]{1,30});"
)
_LETTER = r"[\p{L}\p{N}]"
_CONTROL = r"[\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}-\x{9F}]"  # no tab and no line break
_REPLACEMENT = "\ufffd"


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Check every text on its own, and every second text of a pair.

    A problem is a warning if a row that cells use has it, else an info. If the used rows are not
    known, it is a warning. A used text without a visible character is an error.
    """
    faults = {
        "hold no visible character": "remove these rows",
        "hold nothing but HTML tags, URLs or entities": "remove the rows, or unpack the text",
        f"are longer than {MAX_CHARACTERS} characters": (
            "keep the headline or first sentence, or what max_length cuts off is never read"
        ),
        "hold control characters": "remove the characters; they come from a broken export",
        "hold the replacement character U+FFFD": (
            "export the rows again in their right encoding; the original characters are lost"
        ),
    }
    columns = [dataset.table["text"]]
    if dataset.table["text_pair"].null_count < len(dataset.table):
        columns.append(dataset.table["text_pair"])
    flagged = [_find_faults(column.combine_chunks()) for column in columns]
    findings = []
    for number, (what, remedy) in enumerate(faults.items()):
        flags = flagged[0][number] if len(flagged) == 1 else pc.or_(*(f[number] for f in flagged))
        rows = dataset.table.filter(flags)
        if not len(rows):
            continue
        ids = rows["id"].to_pylist()
        used = [row_id for row_id in ids if used_rows.uses(row_id)]
        severity: Severity = "warning" if used else "info"
        if number == 0 and used and used_rows.draws:
            severity = "error"
        drawn = f", {len(used)} of them drawn" if used_rows.draws else ""
        findings.append(
            Finding(
                "text",
                severity,
                f"{len(ids)} texts {what}{drawn}",
                remedy,
                count=len(ids),
                examples=example_rows(dataset, used or ids),
            )
        )
    return findings


def _find_faults(texts: pa.Array) -> list[pa.Array]:
    """Mark the rows with each problem, a part of the rows at a time to save memory."""
    parts = [_faults(texts.slice(start, PART)) for start in range(0, len(texts), PART)]
    return [pa.concat_arrays(flags) for flags in zip(*parts, strict=True)]


def _faults(texts: pa.Array) -> list[pa.Array]:
    """Mark the rows with each problem: num_rows flags, in the order of :func:`check`."""
    visible = pc.match_substring_regex(texts, _VISIBLE)
    has_markup = pc.match_substring_regex(texts, _MARKUP)
    bare = pc.if_else(has_markup, pc.replace_substring_regex(texts, _MARKUP, " "), texts)
    flags = [
        pc.invert(visible),
        pc.and_(has_markup, pc.invert(pc.match_substring_regex(bare, _LETTER))),
        pc.greater(pc.utf8_length(texts), MAX_CHARACTERS),
        pc.match_substring_regex(texts, _CONTROL),
        pc.match_substring(texts, _REPLACEMENT),
    ]
    return [pc.fill_null(flag, False) for flag in flags]
