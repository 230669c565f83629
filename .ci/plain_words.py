"""Check that docstrings, messages, comments and pages of docs are in plain English.

Docstrings, descriptions of arguments, paragraphs and items of lists must not start with a word of
FIRST_WORDS, because such a start makes a fragment that the reader has to decode. Words of
REPLACED have a usual word that every reader knows. Names of VAGUE_NAMES do not say what they hold.

Usage: python .ci/plain_words.py [FOLDER OR FILE ...]
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

FIRST_WORDS = ("Of", "What", "Those", "Its", "As", "Whose")
REPLACED = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, from the start",
    r"(go|goes|gone|went|going) on from": "resume",
    r"told": "log, raise, pass, say",
    r"befalls?|befell": "happens to",
}
VAGUE_NAMES = ("told", "made", "one", "found")
CHECKED = (
    "data", "trainables", "analysis", "sweep", "xlt/__init__.py", "benchmarks", "docs", "README.md",
)  # fmt: skip

_FIRST = re.compile(rf"(?:{'|'.join(FIRST_WORDS)})\b")
_REPLACED = {re.compile(rf"\b{word}\b", re.IGNORECASE): use for word, use in REPLACED.items()}
_ARGUMENT = re.compile(r"^\s*[*`\w, .()\[\]{}\":%-]{1,60}?: (.*)$")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.|#+|\|)\s+")

Problem = tuple[int, str]


def problems_of_text(text: str, line: int) -> Iterator[Problem]:
    """Problems of a docstring or of a page, which starts at a line of its file.

    A paragraph starts after an empty line, an item of a list where its mark is.
    """
    starts = True
    for number, content in enumerate(text.splitlines(), line):
        words = content.strip()
        item = _ITEM.match(content)
        if (starts or item) and _FIRST.match(content[item.end() :] if item else words):
            yield number, f"starts with {words.split()[0]!r}: {words[:60]}"
        starts = not words
        yield from problems_of_words(words, number)


def problems_of_words(text: str, line: int) -> Iterator[Problem]:
    """Words of a text that have a usual word."""
    for pattern, use in _REPLACED.items():
        if match := pattern.search(text):
            yield line, f"says {match.group()!r}; use: {use}: {text.strip()[:60]}"


def problems_of_code(source: str) -> Iterator[Problem]:
    """Problems of a Python file: docstrings, strings, comments and names."""
    tree = ast.parse(source)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = {
        id(value): value
        for value in statements
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in docstrings:
                yield from problems_of_text(node.value, node.lineno)
                yield from _problems_of_arguments(node.value, node.lineno)
            else:
                yield from problems_of_words(node.value, node.lineno)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield from _problems_of_name(node.id, node.lineno)
        elif isinstance(node, ast.arg):
            yield from _problems_of_name(node.arg, node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from problems_of_words(token.string, token.start[0])


def _problems_of_arguments(docstring: str, line: int) -> Iterator[Problem]:
    for number, content in enumerate(docstring.splitlines(), line):
        match = _ARGUMENT.match(content)
        if match and content.startswith(" ") and _FIRST.match(match.group(1)):
            yield number, f"starts with {match.group(1).split()[0]!r}: {content.strip()[:60]}"


def _problems_of_name(name: str, line: int) -> Iterator[Problem]:
    if name in VAGUE_NAMES:
        yield line, f"names something {name!r}, which does not say what it holds"


def files_of(places: list[str]) -> Iterator[Path]:
    """Python files and pages of docs in folders, and files that are given."""
    for place in map(Path, places):
        if place.is_dir():
            yield from sorted(file for file in place.rglob("*") if file.suffix in {".py", ".md"})
        else:
            yield place


def main(places: list[str]) -> int:
    """Print each problem with its file and line; 1 if there is any."""
    num_problems = 0
    for file in files_of(places or list(CHECKED)):
        text = file.read_text(encoding="utf-8")
        found_in = problems_of_code(text) if file.suffix == ".py" else problems_of_text(text, 1)
        for line, problem in sorted(set(found_in)):
            print(f"{file}:{line}: {problem}")
            num_problems += 1
    return int(num_problems > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
