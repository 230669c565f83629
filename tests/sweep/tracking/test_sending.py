"""Sending to trackers: nothing twice, gaps are filled later, and a sweep waits for none of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from memory_tracker import open_store, use_memory_tracker
from result_folders import (
    make_plan,
    make_results,
    save_done,
    save_failed,
    trial_files,
)

from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.run import run_sweep
from xlt.sweep.tracking import live, registry
from xlt.sweep.tracking.live import LiveTracking
from xlt.sweep.tracking.registry import parse_destinations
from xlt.sweep.tracking.settings import Tracking
from xlt.trainables.results.result import Results

SWEEP = ["models=[{name: ngram, method: ngram}]", "patterns=[ja0]", "seeds=[0, 1]", "name=small"]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    use_memory_tracker(monkeypatch)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two done trials, a failed one, and one that did not run."""
    location = make_results(tmp_path / "results", make_plan(seeds=[0, 1, 2, 3]))
    for seed in (0, 1):
        save_done(location, "elyza", "ja16", seed, {"f1": 0.5})
    save_failed(location, "elyza", "ja16", 2, "ValueError: no")
    return location


def test_a_second_call_sends_nothing(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store("a")
    assert main(["track", results.uri, "--to", "memory=a"]) == 0
    first = capsys.readouterr()
    assert first.out == "memory=a: 3 sent, 0 replaced, 0 unchanged\n"
    assert first.err == "1 trials have not ended; run the same command after them\n"
    assert sorted(run.status for run in store.runs.values()) == ["failed", "finished", "finished"]
    assert main(["track", results.uri, "--to", "memory=a"]) == 0
    assert capsys.readouterr().out == "memory=a: 0 sent, 0 replaced, 3 unchanged\n"
    assert store.num_sent == 3


def test_a_trial_that_ran_again_replaces_its_run(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("a")
    main(["track", results.uri, "--to", "memory=a"])
    trial_id = save_done(results, "elyza", "ja16", 2, {"f1": 0.7})  # it had failed
    capsys.readouterr()
    assert main(["track", results.uri, "--to", "memory=a"]) == 0
    assert capsys.readouterr().out == "memory=a: 0 sent, 1 replaced, 2 unchanged\n"
    assert store.runs[trial_id].metrics["f1"] == 0.7


def test_a_tracker_that_is_away_stops_no_other(
    results: Results, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store("away").is_away = True
    open_store("b")
    monkeypatch.setitem(registry.TRACKERS, "other", registry.TRACKERS["memory"])
    assert main(["track", results.uri, "--to", "memory=away,other=b"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "other=b: 3 sent, 0 replaced, 0 unchanged\n"
    assert (
        "xlt: memory=away: it does not answer; it has 0 of 3 trials, and the same command sends "
        "the others" in shown.err
    )


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("mlfow", "Did you mean 'mlflow'? Known: memory, mlflow, tensorboard, trackio, wandb."),
        ("mlfow", "pip install 'xlt-sweep[NAME]'"),
        ("wandb,wandb", "tracker 'wandb' is given more than once"),
        ("mlflow=runs", "'runs' is no tracking URI; write e.g. mlflow=http://127.0.0.1:5000"),
        ("tensorboard=s3://bucket", "'s3://bucket' is a URI; the place of tensorboard is a local"),
        ("mlflow=http://me:PW@host", "the place of mlflow contains a password or key"),
        ("mlflow=http://host/?token=PW", "the place of mlflow contains a password or key"),
        ("", "unknown tracker ''"),
    ],
)
def test_wrong_destinations(to: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        parse_destinations([to])
    assert problem in str(error.value)
    assert "PW" not in str(error.value)
    with pytest.raises(InputError) as error:
        Experiment.from_yaml("name: a", "file", [f"tracking.to=[{to!r}]"])
    assert "PW" not in str(error.value)
    assert problem in str(error.value)


def test_a_missing_package(
    results: Results, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.TRACKERS, "mlflow", registry.Entry("a:B", "not_there", "a URI"))
    assert main(["track", results.uri, "--to", "mlflow"]) == 2
    told = capsys.readouterr().err
    assert "needs the package not_there" in told
    assert "pip install 'xlt-sweep[mlflow]'" in told
    experiment = load_experiment("quickstart", [*SWEEP, "tracking.to=mlflow"])
    with pytest.raises(InputError, match="not_there"):
        run_sweep(experiment, f"{results.uri}-new", backend="inline")
    assert not Path(f"{results.uri}-new").exists()


def test_no_trial_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = make_results(tmp_path / "results", make_plan(seeds=[0, 1])).uri
    assert main(["track", uri, "--to", "memory"]) == 2
    assert "none of 2 trials has ended; `xlt run` them first" in capsys.readouterr().err


def track(location: Results, trial_ids: list[str], *places: str) -> tuple[list[str], float]:
    """Let trials end; return what the driver says, and the seconds that it took."""
    said: list[str] = []
    start = time.monotonic()
    tracking = Tracking(to=tuple(f"memory={place}" for place in places))
    with LiveTracking(tracking, location, "test", said.append) as tracked:
        for trial_id in trial_ids:
            tracked.ended(trial_id)
    return said, time.monotonic() - start


def test_live_runs_are_those_of_the_command(results: Results) -> None:
    ids = make_plan(seeds=[0, 1, 2]).trial_ids
    store = open_store("a")
    said, _ = track(results, ids, "a")
    assert said == ["tracking: memory=a has all 3 trials of this run"]
    assert [*store.runs] == ids
    assert main(["track", results.uri, "--to", "memory=a"]) == 0
    assert store.num_sent == 3


def test_a_tracker_that_is_away_loses_nothing(results: Results) -> None:
    ids = make_plan(seeds=[0, 1, 2]).trial_ids
    store = open_store("a")
    store.is_away = True
    said, seconds = track(results, ids, "a")
    assert seconds < 5
    assert store.num_calls == 1  # then the tracker rests
    first, line = said
    assert first == (
        "tracking: memory=a: it does not answer; trials go on without it; the next try is in 60 s"
    )
    assert line.startswith("tracking: 3 trials are not in memory=a (it does not answer): ")
    command = line.split("`")[1].split()
    store.is_away = False
    assert main(command[1:]) == 0
    assert [*store.runs] == ids


def test_a_tracker_that_returns_gets_the_trials_that_it_missed(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST_SECONDS", 0.0)
    ids = make_plan(seeds=[0, 1]).trial_ids
    store = open_store("a")
    store.is_away = True
    said: list[str] = []
    with LiveTracking(Tracking(to=("memory=a",)), results, "test", said.append) as tracked:
        tracked.ended(ids[0])
        while not tracked._threads[0].problem:
            time.sleep(0.01)
        store.is_away = False
        tracked.ended(ids[1])
    assert len(said) == 2  # the problem, once
    assert said[1] == "tracking: memory=a has all 2 trials of this run"
    assert {*store.runs} == {*ids}


def test_a_problem_is_told_before_the_first_trial_ends(results: Results) -> None:
    open_store("a").is_away = True
    said: list[str] = []
    with LiveTracking(Tracking(to=("memory=a",)), results, "test", said.append):
        while not said:
            time.sleep(0.01)
    assert "it does not answer; trials go on without it" in said[0]


def test_a_tracker_that_hangs_delays_nothing(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LAST_SECONDS", 0.5)
    said, seconds = track(results, make_plan(seeds=[0, 1]).trial_ids, "hangs")
    assert seconds < 5
    assert said[0].startswith("tracking: 2 trials are not in memory=hangs (it was too slow): ")


def test_a_sweep_is_tracked_and_its_bytes_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("a")
    plain = run_sweep(load_experiment("quickstart", SWEEP), str(tmp_path / "a"), backend="inline")
    tracked = run_sweep(
        load_experiment("quickstart", [*SWEEP, "tracking={to: memory=a}"]),
        str(tmp_path / "b"),
        backend="inline",
    )
    assert {*store.runs} == {*tracked.ledger.done}
    assert trial_files(tracked.results) == trial_files(plain.results)
    assert "tracking: memory=a has all 2 trials of this run" in capsys.readouterr().err
    assert "tracking" in tracked.grid.experiment.to_yaml()
    assert "tracking" not in plain.grid.experiment.to_yaml()
