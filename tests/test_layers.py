"""The layers and the pure modules, and proofs that these checks can fail."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh_process import (
    HEAVY,
    heavy_imports,
    loaded_by,
    modules_after,
)
from repository import ROOT
from result_folders import make_plan, make_results, save_done

PACKAGES = ("data", "trainables", "analysis", "sweep")
PURE = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in (
        "data", "analysis", "trainables/spec", "trainables/metrics", "trainables/models",
        "trainables/results",
    )
    for path in (ROOT / "xlt" / folder).rglob("*.py")
)  # fmt: skip


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import-linter on the pyproject.toml of a folder."""
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(config_filename='pyproject.toml', no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_layers_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
ROOMS = {
    contract["containers"][0].removeprefix("xlt."): contract["layers"]
    for contract in CONTRACTS
    if "containers" in contract
}
"""The rooms of each package, from the top floor down."""


def test_every_room_has_a_floor() -> None:
    for package in PACKAGES:
        entries = (ROOT / package).iterdir()
        rooms = {p.stem for p in entries if (p / "__init__.py").exists() or p.suffix == ".py"}
        assert rooms - {"__init__", "experiments"} == set(ROOMS[package])  # experiments: YAML only


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("analysis/tables", "import xlt.sweep", "xlt.analysis is not allowed to import xlt.sweep"),
        ("analysis/tables", "import xlt.trainables.spec", ""),
        ("analysis/tables", "import xlt.trainables.trial", "xlt.trainables.trial"),
        ("analysis/tables", "import xlt.analysis.page", "not allowed to import xlt.analysis.page"),
        ("data/core", "def f():\n    import torch", "xlt.data is not allowed to import torch"),
        ("sweep/planning", "import ray", "xlt.sweep.planning is not allowed to import ray"),
    ],
)
def test_an_import_against_the_layers_is_found(
    file: str, line: str, broken: str, tmp_path: Path
) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :])
    for package, rooms in ROOMS.items():
        for folder in ("", package, *(f"{package}/{room}" for room in rooms)):
            (tmp_path / "xlt" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "xlt" / folder / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "xlt" / file / "module.py").write_text(f"{line}\n")
    done = lint_imports(tmp_path)
    assert (done.returncode == 0) == (not broken), done.stdout + done.stderr
    assert broken in done.stdout


def test_folders_hold_thirteen_files_at_most() -> None:
    folders = [
        folder for name in PACKAGES for folder in (ROOT / name).rglob("*") if folder.is_dir()
    ]
    crowded = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if len([f for f in folder.glob("*.py") if f.name != "__init__.py"]) > 13
    ]
    assert not crowded


def test_test_files_have_different_names() -> None:
    """Tests are imported by the name of their file alone, so pytest refuses a second one."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({*names}) == sorted(names)


def test_the_map_has_a_row_for_each_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    named = {name.strip(" `").rstrip("/") for name in rows}
    there = {
        str(file.parent.relative_to(ROOT))
        for name in PACKAGES
        for file in (ROOT / name).rglob("__init__.py")
    }
    assert named & there == there, there - named
    assert all((ROOT / name).exists() for name in named)


def test_pure_modules_import_nothing_heavy() -> None:
    program = f"""
import sys, importlib
for module in {PURE}:
    importlib.import_module(module)
    found = [name for name in {HEAVY} if name in sys.modules]
    if found:
        sys.exit(f"{{module}} imports {{found}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {
        "xlt.data.dataset.patterns",
        "xlt.analysis.trials.collect",
        "xlt.trainables.results.result",
    } <= set(PURE)


def test_help_waits_for_nothing() -> None:
    assert modules_after(["--help"], (*HEAVY, "numpy", "pyarrow", "pydantic", "rich", "yaml")) == []


def test_status_and_report_wait_for_little(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5})
    for command in ("status", "report"):
        found = modules_after([command, results.uri], (*HEAVY, "rich", "yaml", "pyarrow"))
        assert found == ["pyarrow"]  # without which nothing can be read


def test_plan_waits_for_little() -> None:
    names = (*HEAVY, "language_data", "huggingface_hub", "tokenizers", "safetensors", "pyarrow")
    assert modules_after(["plan", "quickstart"], names) == ["pyarrow"]


def test_a_worker_waits_for_the_trial_it_runs() -> None:
    names = ("torch", "peft", "bitsandbytes", "torch._inductor.compile_fx", "datasets", "ray")
    modules = ("xlt.trainables.trial.run_pack", "xlt.trainables.inference.tagging")
    assert loaded_by(modules, names) == ["torch"]  # peft comes with the first trial of LoRA


def test_a_module_that_is_not_pure_is_found() -> None:
    assert "torch" in heavy_imports("xlt.trainables.training.loop")


@pytest.mark.parametrize("package", ["trainables", "sweep", "analysis", "data"])
def test_packages_hold_no_logic(package: str) -> None:
    text = (ROOT / package / "__init__.py").read_text()
    assert text.startswith('"""')
    assert "def " not in text
    assert "class " not in text


def test_a_trial_knows_nothing_of_ray() -> None:
    for path in (ROOT / "trainables").rglob("*.py"):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if line.lstrip().startswith(("import ray", "from ray"))]
