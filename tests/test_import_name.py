"""The one import name xlt works in a folder whose files have the names of our packages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from repository import ROOT

OWN_FILES = (
    "analysis.py", "data.py", "data/__init__.py", "trainables.py", "sweep/__init__.py", "xlt.yaml",
)  # fmt: skip
ONE_TRIAL = [
    "run", "quickstart", "--set", "models=[mini-mbert]", "--set", "patterns=[ja0]",
    "--set", "seeds=[0]", "--results", "results",
]  # fmt: skip


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """Make a folder with files of common names, each of which raises when it is imported."""
    for name in OWN_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"raise RuntimeError('{name} of the user was imported')\n")
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
def test_rays_workers_import_xlt_beside_files_of_the_same_names(crowded: Path) -> None:
    done = start(crowded, "-m", "xlt", *ONE_TRIAL, "--backend", "ray")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mini-mbert" in done.stdout
    assert "of the user" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_workers_of_a_running_cluster_import_xlt_beside_files_of_the_same_names(
    crowded: Path, ray_address: str
) -> None:
    """A sweep, predictions and explanations on the same cluster, then both without Ray."""
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


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("platformdirs", "cannot import xlt: RuntimeError: this is another one (in {file})"),
        ("pyarrow", "; pyarrow.py in {folder} hides an installed package"),
    ],
)
def test_a_file_that_hides_a_package_is_named_before_a_trial_starts(
    hidden: str, message: str, tmp_path: Path
) -> None:
    """Ray's workers import from the folder of the command; the console script does not."""
    file = tmp_path / f"{hidden}.py"
    file.write_text("raise RuntimeError('this is another one')\n")
    script = str(Path(sys.executable).parent / "xlt")
    done = start(tmp_path, script, *ONE_TRIAL, "--backend", "ray")
    assert done.returncode == 2, done.stdout + done.stderr
    assert message.format(file=file, folder=tmp_path) in done.stderr
    assert "memory" not in done.stderr
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
