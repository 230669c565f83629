"""Paths inside a results location: their places, and that only trainables/results names them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

from xlt.trainables.results import layout
from xlt.trainables.results.result import Results

OWNER = ROOT / "trainables" / "results"
SOURCES = ("data", "trainables", "analysis", "sweep", "benchmarks")
TABLES = ("predictions", "history", "train_rows")
FOLDERS = {layout.EXPERIMENTS, layout.SEARCHES, layout.CHECKPOINTS, layout.SET_ASIDE}
NAMES = (layout.MARKER, layout.RECORD, layout.FAILURE, *map(layout.table_name, TABLES))
SUFFIXES = (layout.PLAN_SUFFIX, ".texts.parquet", ".rescued.yaml", ".lease.json")
PATH_CALLS = {"path", "read", "read_json", "exists", "sizes", "make_folder", "write", "writing"}
PART_OF_PATH = re.compile(
    rf"(^|/)\.?({'|'.join([*FOLDERS, layout.TRIALS, layout.MODEL])})/"
    rf"|{'|'.join(map(re.escape, [*NAMES, *SUFFIXES]))}|attributions-"
)


def paths_in(source: str) -> Iterator[str]:
    """Strings of a module that name a folder or a file inside a results location.

    Sentences, which contain a space, are not paths. "trials" alone is also the name of a column,
    so it counts only as an argument of a function that takes a path.
    """
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            is_path = text in FOLDERS or (" " not in text and PART_OF_PATH.search(text))
            if is_path and id(node) not in docstrings:
                yield text
        values: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            values = node.args if node.func.attr in PATH_CALLS else []
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            values = [node.right]
        for value in values:
            if isinstance(value, ast.Constant) and value.value in (layout.TRIALS, layout.MODEL):
                yield str(value.value)


def test_only_this_folder_names_paths_inside_a_results_location() -> None:
    files = [file for name in SOURCES for file in (ROOT / name).rglob("*.py")]
    others = [file for file in files if OWNER not in file.parents]
    assert len(others) > 200
    paths = {file: list(paths_in(file.read_text("utf-8"))) for file in others}
    assert {str(file): found for file, found in paths.items() if found} == {}


@pytest.mark.parametrize(
    "line",
    [
        'file = f"experiments/{name}.yaml"',
        'file = f"experiments/.{lease_id}.partial"',
        'location.read_json(folder, "trial.json")',
        'location.path("trials", trial_id)',
        'root.glob("trials/*")',
        'folder = Path(root) / "trials"',
        'FOLDER = "checkpoints"',
        'name.startswith("model/")',
        'table = results.read(trial_id, "history.parquet")',
        'return f"attributions-{method}.json"',
        'return f"{experiment}.lease.json"',
    ],
)
def test_a_path_elsewhere_is_found(line: str) -> None:
    assert list(paths_in(line))


@pytest.mark.parametrize(
    "line", ['column = "trials"', '"remove the folders from trials/ first"', "'''See trials/.'''"]
)
def test_other_strings_are_not_paths(line: str) -> None:
    assert not list(paths_in(line))


def test_files_lie_where_they_always_did(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    assert results.trial_path("ab") == f"{tmp_path}/trials/ab"
    assert results.record_path("ab") == f"{tmp_path}/trials/ab/trial.json"
    assert results.lease_file("x") == "experiments/x.lease.json"
    assert [
        layout.experiment_file("x"), layout.plan_file("x"), layout.texts_file("x"),
        layout.rescued_file("x"), layout.search_file("x"), layout.checkpoint_file("ab"),
        layout.trial_file("ab", layout.model_name("config.json")), *map(layout.table_name, TABLES),
        *layout.attribution_names("lime"), layout.MARKER, layout.FAILURE, layout.SET_ASIDE,
    ] == [
        "experiments/x.yaml", "experiments/x.plan.json", "experiments/x.texts.parquet",
        "experiments/x.rescued.yaml", "searches/x.plan.json", "checkpoints/ab.safetensors",
        "trials/ab/model/config.json", "predictions.parquet", "history.parquet",
        "train_rows.parquet", "attributions-lime.parquet", "attributions-lime.json",
        "xlt-results.json", "error.json", "set-aside",
    ]  # fmt: skip


def test_a_trial_folder_is_split_from_its_location() -> None:
    assert layout.split_trial_uri("s3://bucket/r/trials/ab/") == ("s3://bucket/r", "ab")
    assert layout.split_trial_uri("results")[0] == ""
