"""The site of docs/: the check of its links, the page of its notebook, its search in Chromium."""

from __future__ import annotations

import http.server
import importlib.util
import json
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from repository import ROOT

FRAME = '<style scoped>\nth {}\n</style>\n<table border="1" class="dataframe">\n\n</table>'
SITE = ROOT / "build/site"
SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]


def load_builder() -> Any:
    spec = importlib.util.spec_from_file_location("build_site", ROOT / ".ci/build_site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILDER = load_builder()


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="b.html">b</a>', "a.html: b.html does not exist"),
        ('<a href="/b.html">b</a>', "a.html: /b.html does not exist"),
        ('<a href="../c.html">c</a>', "a.html: ../c.html does not exist"),
        ('<a href="#no">no</a><i id="yes">', "a.html: #no is no anchor"),
        ('<a href="a.html#no">no</a>', "a.html: a.html#no is no anchor"),
        ('<a href="x.yaml#no">no</a>', "a.html: x.yaml#no is no anchor"),
        ('<script src="https://example.org/x.js">', "a.html: loads https://example.org/x.js"),
        ('<link href="//example.org/x.css">', "a.html: loads //example.org/x.css"),
        ('<a href="https://example.org">out</a><a href="a.html#yes">in</a><i id="yes">', ""),
        ('<img src="data:image/png;base64,AA=="><a href="/a.html">in</a>', ""),
    ],
)
def test_the_check_finds_broken_links_and_files_from_elsewhere(
    html: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path.parent / "c.html").touch()
    (tmp_path / "x.yaml").touch()
    (tmp_path / "a.html").write_text(html)
    assert list(BUILDER.problems_of_site(tmp_path)) == ([problem] if problem else [])


def test_a_notebook_becomes_a_page() -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
        {"data": {"image/png": "AA==\n", "text/plain": ["<Figure>"]}},
        {"data": {"text/html": FRAME, "text/plain": ["x"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": outputs},
    ]
    page = BUILDER.write_notebook({"cells": cells})
    parts = page.split("\n\n")
    assert parts[:2] == ["# Title\ntext", "```python\n1 + 1\n```"]
    assert parts[2:5] == [
        "```text\na\nb\n```",
        '<img alt="Figure" src="data:image/png;base64,AA==">',
        "<table>\n</table>",
    ]


def test_the_navigation_has_every_page_once() -> None:
    listed = [page for entry in SETTINGS["nav"] for page in _pages(entry)]
    pages = {file.name for file in (ROOT / "docs").glob("*.md")} | {"notebook.md"}
    assert sorted(listed) == sorted(pages)


def _pages(entry: dict[str, Any]) -> Iterator[str]:
    for value in entry.values():
        if isinstance(value, str):
            yield value
        else:
            for below in value:
                yield from _pages(below)


def test_the_notebook_is_small_and_uses_public_names() -> None:
    file = ROOT / "docs/notebook.ipynb"
    notebook = json.loads(file.read_text("utf-8"))
    assert file.stat().st_size < 150_000
    code = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    assert "import xlt\n" in code and "from xlt" not in code and "import xlt." not in code


@pytest.mark.browser
@needs_chromium
@pytest.mark.skipif(not SITE.exists(), reason="no site in build/site; `make docs` builds it")
def test_the_site_is_searched_and_loads_nothing_from_elsewhere(browser: Any) -> None:
    handler = partial(QuietHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        tab = browser.new_page()
        asked: list[str] = []
        errors: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        for page in ("index.html", "quickstart.html", "api.html", "notebook.html"):
            tab.goto(home + page)
            assert tab.locator("h1").is_visible()
        tab.locator(".md-search__button").first.click()
        tab.get_by_placeholder("Search").fill("checkpoint_minutes")
        tab.locator("a", has_text="storage.checkpoint_minutes").first.wait_for()
        tab.close()
        server.shutdown()
    assert not errors
    assert [url for url in asked if not url.startswith((home, "data:", "blob:"))] == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A server of files that prints no requests."""

    def log_message(self, *_: Any) -> None:
        pass
