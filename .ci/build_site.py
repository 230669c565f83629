"""Build the site of docs/ into build/site, and check that it is whole.

Warnings of Zensical are errors. Every link and anchor inside the site must lead somewhere, and no
page may load a file from elsewhere, so that the site also works without a network.

Usage, in the environment of requirements-docs.lock: python .ci/build_site.py
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
NOTEBOOK = "notebook.ipynb"
DECORATION = re.compile(r'<style.*?</style>| border="1" class="dataframe"', re.DOTALL)
"""Markup that pandas writes around a table, for pages without a style."""
LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""Elements that load a file, and the attribute that names it."""


class Page(HTMLParser):
    """Anchors, links and loaded files of a page."""

    def __init__(self, html: str) -> None:
        """Parse a page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element names."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif values.get("rel") != "canonical" and LOADS.get(tag) in values:
            self.loads.append(values[LOADS[tag]])


def problems_of_site(folder: Path) -> Iterator[str]:
    """Links that lead nowhere, and files that are loaded from elsewhere."""
    pages = {
        file.resolve(): Page(file.read_text("utf-8")) for file in sorted(folder.rglob("*.html"))
    }
    anchors = {file: page.anchors for file, page in pages.items()}
    for file, page in pages.items():
        name = file.relative_to(folder.resolve())
        for target in (*page.links, *page.loads):
            url = urlsplit(target)
            if url.scheme == "data" or (url.scheme and target not in page.loads):
                continue
            if url.scheme or url.netloc:
                yield f"{name}: loads {target}"
                continue
            path = unquote(url.path)
            start = folder if path.startswith("/") else file.parent
            linked = (start / path.lstrip("/")).resolve() if path else file
            if not linked.is_relative_to(folder.resolve()) or not linked.is_file():
                yield f"{name}: {target} does not exist"
            elif url.fragment and unquote(url.fragment) not in anchors.get(linked, ()):
                yield f"{name}: {target} is no anchor"


def write_notebook(notebook: dict[str, Any]) -> str:
    """Write a notebook as a page: its texts, its code, and the outputs that it holds."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_write_output(output) for output in cell.get("outputs", ())]
    parts.append(f'<a href="{NOTEBOOK}" download>Download this notebook</a>')
    return "\n\n".join(parts) + "\n"


def _write_output(output: dict[str, Any]) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if png := data.get("image/png"):
        return f'<img alt="Figure" src="data:image/png;base64,{png.strip()}">'
    if html := data.get("text/html"):
        html = DECORATION.sub("", html)  # the site has colours and lines of its own
        return "\n".join(line for line in html.splitlines() if line.strip())
    text = data.get("text/plain") or "".join(output["text"])
    return f"```text\n{text.rstrip()}\n```"


def copy_pages() -> None:
    """Copy docs/ and the settings into build/, with the notebook as one more page."""
    pages = BUILD / "docs"
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    shutil.copy(ROOT / "zensical.toml", BUILD)
    for page in pages.glob("*.md"):
        text = page.read_text("utf-8")
        page.write_text(text.replace(f"]({NOTEBOOK})", "](notebook.md)"), "utf-8")
    notebook = json.loads((pages / NOTEBOOK).read_text("utf-8"))
    (pages / "notebook.md").write_text(write_notebook(notebook), "utf-8")


def main() -> int:
    """Build and check; 1 if something is wrong."""
    copy_pages()
    site = BUILD / "site"
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if subprocess.run(command, cwd=BUILD, check=False).returncode:
        return 1
    problems = list(problems_of_site(site))
    serve = "python3 -m http.server --bind 127.0.0.1 --directory build/site"
    print("\n".join(problems or [f"build/site is whole; to read and search it: {serve}"]))
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
