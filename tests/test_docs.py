"""README and docs/ agree with the code: links, paths, commands, imports."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from repository import ROOT

import xlt
from xlt.sweep.cli.parser import make_parser

PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
FOLDERS = "data|trainables|analysis|sweep|tests|benchmarks"
FILE = re.compile(
    rf"(?<![\w/.:-])((?:{FOLDERS})/[\w/.-]*\.(?:py|yaml|txt|tsv)|(?:{FOLDERS})/[\w/]+)"
)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Words after ``xlt`` of each command, in fenced blocks and in code spans."""
    text = page.read_text("utf-8")
    blocks = [block.replace("\\\n", " ") for _, block in FENCE.findall(text)]
    lines = [line for block in blocks for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in CODE.findall(prose(page))]
    for line in [*lines, *spans]:
        if match := re.search(r"(?:^|[A-Z_]+=\S+ )xlt (.*)", line.strip()):
            yield shlex.split(match.group(1), comments=True)


@pages
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            linked = page.parent / name if name else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


@pages
def test_named_files_exist(page: Path) -> None:
    for name in FILE.findall(page.read_text("utf-8")):
        assert (ROOT / name.rstrip(".")).exists(), name


@pages
def test_commands_have_the_options_that_pages_give_them(page: Path) -> None:
    for words in commands(page):
        parser: argparse.ArgumentParser = make_parser()
        for word in words:
            actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
            if not actions:
                break
            if word.isalpha() and word.islower():  # not COMMAND, and not an option of xlt itself
                assert word in actions[0].choices, words
                parser = actions[0].choices[word]
        known = {option for action in parser._actions for option in action.option_strings}
        unknown = {word for word in words if word.startswith("--")} - known
        assert not unknown, (words, unknown)


@pytest.mark.slow
@pages
def test_imported_names_exist(page: Path) -> None:
    for language, block in FENCE.findall(page.read_text("utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "xlt":
                assert node.attr in xlt.__all__, node.attr
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("xlt"):
                for name in (alias.name for alias in node.names):
                    is_module = (
                        ROOT / "xlt" / Path(*node.module.split(".")[1:], f"{name}.py")
                    ).exists()
                    known = is_module or hasattr(importlib.import_module(node.module), name)
                    assert known, f"{node.module} has no {name}"


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("[a](missing.md)", test_links_lead_to_pages_and_headings),
        ("# A\n[a](#b)", test_links_lead_to_pages_and_headings),
        ("see sweep/cli/missing.py", test_named_files_exist),
        ("`xlt report results --missing`", test_commands_have_the_options_that_pages_give_them),
        ("```\nxlt missing results\n```", test_commands_have_the_options_that_pages_give_them),
        ("```python\nfrom xlt.sweep.run import missing\n```", test_imported_names_exist),
        ("```python\nxlt.missing()\n```", test_imported_names_exist),
    ],
)
def test_a_wrong_page_is_found(text: str, check: Callable[[Path], None], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError):
        check(page)
