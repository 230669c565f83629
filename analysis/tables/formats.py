"""FORMATS: writers of tables; all formats but CSV show the same texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from xlt.analysis.tables.table import PART, Table
from xlt.data.core.errors import InputError, unknown
from xlt.data.tables.aligned_text import align, width
from xlt.data.tables.csv_text import csv_rows


def write_tables(tables: Sequence[Table], format: str = "text") -> str:
    """Write tables one below the other in one of :data:`FORMATS`.

    Raises:
        InputError: Another format.
    """
    return find_format(format)(tables)


def find_format(name: str) -> Callable[[Sequence[Table]], str]:
    """The writer of a format in :data:`FORMATS`; InputError for another name."""
    if name not in FORMATS:
        raise InputError(unknown("format", name, FORMATS))
    return FORMATS[name]


def to_text(table: Table) -> str:
    """Columns aligned by display width, for terminals and mail."""
    head, *body = align([table.heading, *table.lines])
    rule = "-" * max(map(width, (head, *body)))
    parts = [*table.sentences, "", head, rule, *body]
    return "\n".join([*parts, *(["", *table.footnotes] if table.footnotes else [])])


def to_markdown(table: Table) -> str:
    """A pipe table of GitHub."""
    rows = [
        _pipes(table.heading),
        "|" + "---|" * len(table.heading),
        *(_pipes([text.strip() for text in line]) for line in table.lines),
    ]
    first, *others = map(_markdown, table.sentences)
    parts = [" ".join([f"**{first}**", *others]), "\n".join(rows)]
    # A line that starts with "-" would become a list item.
    notes = list(map(_markdown, table.footnotes))
    parts += [f"\\{note}" if note.startswith("-") else note for note in notes]
    return "\n\n".join(parts)


def to_latex(table: Table) -> str:
    r"""A ``table`` environment for article with ``\usepackage{booktabs}``.

    LaTeX numbers tables itself. Names in other scripts than Latin need an engine and a font that
    have them.
    """
    rows = [_ampersands(table.heading), r"\midrule", *map(_ampersands, table.lines)]
    notes = [rf"\par\noindent {note.translate(_LATEX)}" for note in table.footnotes]
    label = re.sub(r"[^\w.-]+", "-", table.name)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{' '.join(table.caption).translate(_LATEX)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.heading)}}}",
            r"\toprule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\medskip\raggedright\footnotesize", *notes] if notes else []),
            r"\end{table}",
        ]
    )


def to_csv(tables: Sequence[Table]) -> str:
    """The records of all tables under one heading, without captions and footnotes."""
    records = [record for table in tables for record in table.records]
    heading = tuple(records[0]) if records else ()
    rows = (tuple(record[name] for name in heading) for record in records)
    return csv_rows([heading, *rows]).removesuffix("\n")


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": lambda tables: "\n\n\n".join(map(to_text, tables)),
    "md": lambda tables: "\n\n".join(map(to_markdown, tables)),
    "latex": lambda tables: "\n\n".join(map(to_latex, tables)),
    "csv": to_csv,
}
"""Name -> function of tables; the texts do not end with a line break."""

_MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_|~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "†": r"$^{\dagger}$", "*": "$^{*}$", '"': "''"}
    # LaTeX would read a bracket after a line break as an optional argument.
    | {"[": "{[}", "]": "{]}"}
)


def _markdown(text: str) -> str:
    """Escape a text; brackets without an address behind them, as of intervals, are no link."""
    return text.translate(_MARKDOWN).replace("](", "]\\(")


def _pipes(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown, texts)) + " |"


def _ampersands(texts: Sequence[str]) -> str:
    indent = r"\quad " if texts[0].startswith(PART) else ""
    escaped = [text.strip().translate(_LATEX) for text in texts]
    return indent + " & ".join(escaped) + r" \\"
