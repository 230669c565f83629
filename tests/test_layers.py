"""The layers and the pure modules, and proofs that these checks can fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from result_folders import make_plan, make_results, save_done

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "ray",
    "transformers",
    "peft",
    "sklearn",
    "scipy",
    "pandas",
    "datasets",
    "lingua",
    "datasketch",
    "matplotlib",
    "plotly",
    "jinja2",
)
PURE = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for pattern in (
        "data/**/*.py", "analysis/**/*.py",
        "trainables/__init__.py", "trainables/spec.py", "trainables/plan.py",
        "trainables/result.py", "trainables/storage.py", "trainables/base_models.py",
        "trainables/architectures.py", "trainables/checkpoint.py", "trainables/pad_token.py",
        "trainables/tokenizer_files.py", "trainables/hub.py",
        "trainables/miniatures.py", "trainables/attributions.py", "trainables/explain/__init__.py",
        "trainables/finished.py", "trainables/packable.py",
    )
    for path in ROOT.glob(pattern)
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


@pytest.mark.parametrize(("line", "holds"), [("import sweep", False), ("import trainables", True)])
def test_an_import_against_the_layers_is_found(line: str, holds: bool, tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :])
    for package in ("sweep", "analysis", "trainables", "data"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "analysis" / "module.py").write_text(f"{line}\n")
    done = lint_imports(tmp_path)
    assert (done.returncode == 0) == holds, done.stdout + done.stderr
    if not holds:
        assert "analysis is not allowed to import sweep" in done.stdout


def heavy_imports(module: str) -> list[str]:
    """Which of HEAVY a module drags in, directly or not, in a fresh process."""
    program = (
        f"import sys, importlib; importlib.import_module({module!r}); "
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


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
    assert {"data.patterns", "analysis.collect", "trainables.result"} <= set(PURE)


def modules_after(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which of these modules `xlt` has loaded when it ends, in a fresh process."""
    program = (
        f"import sys; from sweep.cli import main\ntry: main({list(arguments)})\n"
        f"except SystemExit: pass\nprint('LOADED', *(n for n in {list(names)} if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("LOADED")[1].split()


def test_help_waits_for_nothing() -> None:
    assert modules_after(["--help"], (*HEAVY, "numpy", "pyarrow", "pydantic", "rich", "yaml")) == []


def test_status_and_report_wait_for_little(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5})
    for command in ("status", "report"):
        found = modules_after([command, results.uri], (*HEAVY, "rich", "pyarrow"))
        assert found == ["pyarrow"]  # without which nothing can be read; pandas comes with tables


def test_a_module_that_is_not_pure_is_found() -> None:
    assert "torch" in heavy_imports("trainables.loop")


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
