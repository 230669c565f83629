"""The one import name xlt works in a folder whose files have the names of our packages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ctrl_c import environment
from repository import ROOT

OWN_FILES = (
    "analysis.py", "data.py", "data/__init__.py", "results.py", "trainables.py",
    "sweep/__init__.py", "xlt.yaml",
)  # fmt: skip
HIDING_FILES = ("statistics.py", "random.py", "platformdirs.py", "pyarrow.py", "tokenizers.py")
SCRIPT = str(Path(sys.executable).parent / "xlt")
ONE_TRIAL = [
    "run", "quickstart", "--set", "models=[mini-mbert]", "--set", "patterns=[ja0]",
    "--set", "seeds=[0]", "--set", "pretraining.step_factor=0.02", "--results", "results",
]  # fmt: skip
THREE_TRIALS = [*ONE_TRIAL, "--set", "seeds=[0,1,2]"]


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """Make a folder with files of common names, each of which raises when it is imported."""
    write(tmp_path, *OWN_FILES)
    return tmp_path


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"raise RuntimeError('{name} of the user was imported')\n")


def start(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=environment() | {"PYTHONPATH": str(ROOT)} | variables,
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("command", [("-m", "xlt"), (SCRIPT,)])
def test_rays_workers_import_xlt_beside_files_of_the_same_names(
    command: tuple[str, ...], crowded: Path
) -> None:
    """Neither do files hide modules of Python or installed packages."""
    write(crowded, *HIDING_FILES)
    done = start(crowded, *command, *ONE_TRIAL, "--backend", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mini-mbert" in done.stdout
    assert "of the user" not in done.stdout + done.stderr


@pytest.mark.chaos
@pytest.mark.ray
def test_workers_of_a_running_cluster_import_xlt_beside_files_of_the_same_names(
    crowded: Path, ray_address: str
) -> None:
    """A sweep, predictions and explanations on the same cluster, then both without Ray."""
    write(crowded, *HIDING_FILES)
    (crowded / "texts.csv").write_text("id,text\na,profits rose\nb,it rained\n")
    address = ["--address", ray_address]
    trial = ["--model", "mini-mbert", "--pattern", "ja0", "--seed", "0"]
    predict = ["predict", "results", "texts.csv", *trial]
    explain = ["explain", "results", "--num-samples", "40", "--rows", "2"]
    commands = [
        [*ONE_TRIAL, "--set", "storage.keep_models=all", *address],
        [*predict, "--out", "ray.csv", "--backend", "ray", *address],
        [*predict, "--out", "inline.csv", "--backend", "inline"],
        [*explain, "--seed", "1", "--backend", "ray", *address],
        [*explain, "--seed", "2", "--backend", "inline"],
    ]
    for command in commands:
        ended = start(crowded, "-m", "xlt", *command)
        assert ended.returncode == 0, f"{command[0]}: {ended.stdout}{ended.stderr}"
        assert "of the user" not in ended.stdout + ended.stderr
        if command[0] == "explain":
            assert ended.stdout.startswith("1 trials explained\n")
    assert (crowded / "ray.csv").read_text() == (crowded / "inline.csv").read_text()


ONLY_IN_WORKERS = """
import os, sys
if any(word.endswith(("default_worker.py", "fork_server.py")) for word in sys.orig_argv):
    {statement}
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
import statistics
"""
"""A module that replaces statistics, which torch imports, and does harm in Ray's workers alone, and
in the process that they fork from."""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "raise RuntimeError('another one')",
            "it cannot import the code of trials: RuntimeError: another one "
            "(in {folder}/statistics.py, line 4)",
        ),
        pytest.param(
            "os._exit(3)",
            "it was killed by SIGKILL, crashed or called os._exit on ",
            marks=pytest.mark.chaos,
        ),
    ],
)
def test_workers_that_cannot_import_end_the_run_with_one_sentence(
    statement: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "statistics.py").write_text(ONLY_IN_WORKERS.format(statement=statement))
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    done = start(tmp_path, SCRIPT, *THREE_TRIALS, "--backend", "ray", PYTHONPATH=path)
    assert done.returncode == 2, done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("xlt: worker processes die before they start a trial; the last one: it ")
    assert message.format(folder=tmp_path) in last
    assert "memory" not in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "results").glob("trials/*/error.json"))


def test_python_finds_xlt_beside_files_of_the_same_names(crowded: Path) -> None:
    code = (
        "from xlt.sweep.experiment.experiment import load_experiment\n"
        "from xlt.sweep.planning.grid import expand\n"
        "from xlt.sweep.planning.prepare import prepare\n"
        "print(len(expand(prepare(load_experiment('quickstart'))).cells))\n"
    )
    done = start(crowded, "-c", code)
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr


def test_these_files_raise_when_they_are_imported(crowded: Path) -> None:
    assert "of the user was imported" in start(crowded, "-c", "import analysis").stderr


def test_a_wheel_holds_xlt_alone(tmp_path: Path) -> None:
    program = (
        "import sys; from setuptools import build_meta; "
        "print(build_meta.build_wheel(sys.argv[1], {'--global-option': ['--quiet']}))"
    )
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                (source / name).symlink_to(os.readlink(ROOT / name))
            else:
                (source / name).write_bytes((ROOT / name).read_bytes())
    done = start(source, "-c", program, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"xlt", "xlt_sweep"}
    packaged = ("data", "trainables", "analysis", "sweep")
    ours = {f"xlt/{name}" for name in tracked if name.partition("/")[0] in packaged}
    assert ours <= set(names), sorted(ours - set(names))
