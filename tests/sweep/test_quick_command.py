"""Quick commands pause the garbage collector, import two modules late, and change nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from result_folders import make_plan, make_results, save_done

from xlt.sweep.driver.quick_command import quick_command
from xlt.sweep.on_ray import worker


def test_pandas_and_functions_of_pyarrow_are_imported_when_they_are_used(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5})
    program = f"""
import sys
from xlt.sweep.cli.main import main
assert main(["report", {results.uri!r}]) == 0
assert "pandas" not in sys.modules
assert "equal" not in vars(sys.modules["pyarrow.compute"])
from xlt.analysis.trials.collect import collect
frame = collect({results.uri!r}).to_pandas()
import pandas, pyarrow
assert frame["f1"].notna().sum() == 1
assert pyarrow.array(pandas.Series([1.0, None])).null_count == 1  # as if it was there at first
assert pyarrow.Table.from_pandas(frame).num_rows == len(frame)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_functions_of_pyarrow_are_loaded_once_when_they_are_used() -> None:
    program = """
import concurrent.futures, sys
from xlt.sweep.driver.quick_command import quick_command
with quick_command():
    import pyarrow.compute as pc
    assert "equal" not in vars(sys.modules["pyarrow.compute"])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sums = list(pool.map(lambda number: pc.add(number, 1).as_py(), range(16)))
assert sums == list(range(1, 17)) and pc is sys.modules["pyarrow.compute"]
try:
    pc.no_such_function
except AttributeError as error:
    assert str(error) == "module 'pyarrow.compute' has no attribute 'no_such_function'"
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True)


def test_pandas_stays_as_it_is_in_a_process_that_uses_pyarrow() -> None:
    program = (
        "import sys, pyarrow\nfrom xlt.sweep.driver.quick_command import quick_command\n"
        "with quick_command(): pyarrow.array([1])\nassert 'pandas' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_quick_command_makes_no_garbage_collections() -> None:
    assert gc.isenabled()
    with quick_command():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("words", "status", "is_quick"),
    [
        (["report", "RESULTS"], 0, True),
        (["report", "RESULTS", "--only", "model=none"], 2, True),
        (["status", "nowhere"], 2, True),
        (["cluster", "wait", "--address", "x", "--nodes", "0"], 2, False),
    ],
)
def test_the_process_of_a_quick_command_ends_at_once(
    tmp_path: Path, words: list[str], status: int, is_quick: bool
) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0]))
    save_done(results, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5})
    words = [results.uri if word == "RESULTS" else word for word in words]
    program = f"""
import atexit, os, sys
from xlt.sweep.cli.main import program
end = os._exit
os._exit = lambda status: (print("at once", flush=True), end(status))
sys.argv[1:] = {words!r}
atexit.register(print, "at exit")
program()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert (done.stdout if status == 0 else done.stderr) != ""
    assert "at exit" in done.stdout  # also what is printed last
    assert ("at once" in done.stdout) == is_quick


def test_a_process_with_threads_ends_as_usual() -> None:
    program = """
import sys, threading, time
from xlt.sweep.driver.quick_command import end_at_once, quick_command
with quick_command():
    pass
def work():
    time.sleep(0.5)
    print("thread has ended")
threading.Thread(target=work).start()
end_at_once(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "thread has ended\n"), done.stderr


def test_a_profiler_prints_its_table() -> None:
    words = ["-m", "cProfile", "-m", "xlt", "plan", "quickstart"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "function calls" in done.stdout


def test_a_worker_imports_the_code_of_trials_without_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = list[str]()
    monkeypatch.setattr(gc, "freeze", lambda: seen.append("frozen"))
    monkeypatch.setattr(worker, "import_module", lambda name: seen.append(str(gc.isenabled())))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    worker.import_code()
    assert seen == ["False", "frozen"]
    assert gc.isenabled()
    monkeypatch.setitem(sys.modules, "torch", worker)
    worker.import_code()  # before each later trial, whose models must not be frozen
    assert seen == ["False", "frozen", "True"]
