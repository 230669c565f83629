"""In odd environments a command works, or ends with exit status 2 and one sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from repository import ROOT
from result_folders import make_plan, make_results, save_done

IS_ROOT = os.geteuid() == 0
ORDINARY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if IS_ROOT else ()
"""Command prefix that takes root's right to read and write all files away."""
UNKNOWN_USER = (
    "setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip
"""Command prefix for a user that the machine does not list; it may read the installation."""
C_LOCALE = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
POSITIVE = "環境"
EXPERIMENT = f"""
name: odd
task: {{positive: {POSITIVE}}}
models: [mini-mbert]
patterns: [ja0]
seeds: [0]
"""
RUN = ("run", "odd.yaml", "--results", "new", "--backend")
RAY = (*RUN, "ray")
DEAD = "127.0.0.1:1"
SLOW = re.compile(r"^\d+ s: .*\n", re.MULTILINE)
"""Lines on what a command does, which a slow machine gets."""

pytestmark = pytest.mark.skipif(
    IS_ROOT and not shutil.which("setpriv"), reason="root needs setpriv to be an ordinary user"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an experiment, results, results of others, and a folder without access."""
    folder = tmp_path_factory.mktemp("odd")
    for name in ("odd", POSITIVE):
        (folder / f"{name}.yaml").write_text(EXPERIMENT, "utf-8")
    for name in ("results", "others"):
        results = make_results(folder / name, make_plan(positive=POSITIVE))
        for seed in (0, 1, 2):
            save_done(results, "elyza", "ja16", seed, {"f1": 0.5, "auroc": 0.7})
    (folder / "closed").mkdir()
    limited = [folder / "closed", *(folder / "others").rglob("*"), folder / "others"]
    modes = {path: path.stat().st_mode for path in limited}
    for path in limited:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path, mode in modes.items():
        path.chmod(mode)


def start(
    place: Path, words: Sequence[str], changes: Mapping[str, str | None], prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "XLT_CACHE": str(place / "cache")} | changes
    environment = {
        name: value.replace("{place}", str(place))
        for name, value in variables.items()
        if value is not None
    }
    done = subprocess.run(
        [*(prefix or ORDINARY), sys.executable, "-m", "xlt", *words],
        cwd=place, env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    done.stderr = SLOW.sub("", done.stderr)
    return done


@pytest.mark.parametrize(
    "changes",
    [
        C_LOCALE,
        {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        {"HOME": "{place}/closed", "XLT_CACHE": None, "XDG_CACHE_HOME": None},
        {"HOME": None, "TMPDIR": "/nonexistent"},
        {"TMPDIR": "{place}/closed"},
    ],
    ids=lambda changes: ",".join(changes),
)
@pytest.mark.parametrize("command", ["plan", "report", "status"])
def test_commands_that_read_work_without_utf8_home_or_temporary_folder(
    command: str, changes: dict[str, str | None], place: Path
) -> None:
    words = {"plan": ["plan", f"{POSITIVE}.yaml"]}.get(command, [command, "others"])
    done = start(place, words, changes)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    if command == "report":
        is_ascii = "PYTHONIOENCODING" in changes
        shown = POSITIVE.encode("ascii", "backslashreplace").decode() if is_ascii else POSITIVE
        assert f"class ({shown})" in done.stdout


@pytest.mark.parametrize(
    ("words", "changes", "prefix", "sentence"),
    [
        (("run", "odd.yaml", "--results", "others"), {}, (), "others' cannot be written: "),
        (
            (*RUN, "inline"),
            {"HOME": "{place}/closed", "XLT_CACHE": None, "XDG_CACHE_HOME": None},
            (),
            "closed/.cache/xlt-sweep' cannot be written: Permission denied; free space, fix ",
        ),
        (RAY, {"RAY_ADDRESS": DEAD}, (), f"no Ray cluster at {DEAD}: nothing answers "),
        ((*RAY, "--address", DEAD), {}, (), f"no Ray cluster at {DEAD}: nothing answers "),
        (RAY, {"RAY_TMPDIR": "{place}/" + "x" * 90}, (), "cannot exceed 107 bytes: "),
        (RAY, {"RAY_TMPDIR": "{place}/closed/tmp"}, (), "set RAY_TMPDIR to a folder with a short "),
        pytest.param(
            ("plan", "odd.yaml"), {"HOME": None}, UNKNOWN_USER, "this user has no home folder; ",
            marks=pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user"),
        ),
    ],
)  # fmt: skip
def test_other_commands_end_with_one_sentence(
    words: tuple[str, ...], changes: dict[str, str | None], prefix: tuple[str, ...],
    sentence: str, place: Path,
) -> None:  # fmt: skip
    done = start(place, words, {"RAY_ADDRESS": None} | changes, prefix)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("xlt: ") and done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_results_that_this_user_may_not_read_are_one_sentence(place: Path) -> None:
    folder = place / "others" / "trials"
    folder.chmod(0)
    try:
        for command in ("report", "status"):
            done = start(place, [command, "others"], {})
            assert done.returncode == 2, done.stdout
            assert done.stderr.startswith("xlt: ") and done.stderr.count("\n") == 1
            assert "Permission denied" in done.stderr
    finally:
        folder.chmod(0o555)


@pytest.mark.slow
def test_a_trial_runs_without_utf8_home_or_temporary_folder_with_a_narrow_umask(
    place: Path, experiment_file: Path
) -> None:
    words = ("run", str(experiment_file), "--results", POSITIVE, "--backend", "inline")
    one = ("--only", "model=bert,pattern=ja0", "--set", "seeds=[0]")
    odd = C_LOCALE | {"HOME": "{place}/closed", "TMPDIR": "/nonexistent"}
    before = os.umask(0o077)
    try:
        done = start(place, [*words, *one, "--set", f"task.positive={POSITIVE}"], odd)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (record,) = place.glob(f"{POSITIVE}/trials/*/trial.json")
    assert record.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("redirection", "status", "errors"),
    [
        (">&-", 0, ""),
        (">/dev/full", 2, "xlt: <stdout>: No space left on device\n"),
        ("| true", 0, ""),
    ],
)
def test_output_that_nobody_takes_leaves_no_traceback(
    redirection: str, status: int, errors: str, place: Path
) -> None:
    script = f'set -o pipefail; "{sys.executable}" -m xlt report results --format md {redirection}'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, errors)
