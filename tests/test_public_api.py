"""The public names of xlt: where they come from, what they import, and the page that shows them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from repository import ROOT

import xlt

PAGE = (ROOT / "docs/python.md").read_text("utf-8")
API = (ROOT / "docs/api.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
"""Code of the page: the first block is a whole program, the others go on from it."""


def test_each_name_is_that_of_its_module() -> None:
    assert 12 <= len(xlt.__all__) <= 18
    for name in xlt.__all__:
        public = getattr(xlt, name)
        assert public.__module__ == xlt._MODULES[name] and public.__name__ == name
        assert find_spec(f"xlt.{name}") is None, f"{name} is a module, too"
        assert public.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "xlt/__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == xlt._MODULES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        xlt.runn  # noqa: B018


def test_reading_results_needs_neither_torch_nor_ray() -> None:
    code = (
        "import sys, xlt\n"
        "assert not {'numpy', 'pyarrow', 'pydantic'} & sys.modules.keys()\n"
        "xlt.load_experiment, xlt.prepare, xlt.expand, xlt.collect, xlt.compare_cells\n"
        "xlt.render_tables, xlt.render_page, xlt.find_trial, xlt.run_sweep, xlt.check_sweep\n"
        "xlt.draw_figures, xlt.read_attributions\n"
        "assert not {'torch', 'ray', 'transformers', 'peft'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pages_list_every_public_name() -> None:
    assert set(re.findall(r"^\| `xlt\.(\w+)", PAGE, re.MULTILINE)) == set(xlt.__all__)
    assert sorted(re.findall(r"^::: xlt\.(\w+)$", API, re.MULTILINE)) == sorted(xlt.__all__)


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    """Beside a file data.py of the user's own, as in a notebook's folder; pre-training is short."""
    (tmp_path / "data.py").write_text("raise RuntimeError('the user's file was imported')\n")
    short = '["pretraining.step_factor=0.02", "models=['
    program = "\n".join(BLOCKS).replace('["models=[', short)
    assert short in program
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mini-mbert" in done.stdout
    assert (tmp_path / "report.html").stat().st_size > 10_000
