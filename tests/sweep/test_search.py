"""Searches end to end on a real Ray cluster: cached, resumed, blind to test rows, and rescued."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from counted_reads import Counted
from grids import load_grid
from rich.console import Console
from searched import BREAKS, ONE, SEARCH, write_searched

from xlt.analysis.search.table import make_search_tables
from xlt.analysis.tables.formats import write_tables
from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.grid import expand
from xlt.sweep.planning.prepare import prepare
from xlt.sweep.planning.rescue import find_stuck_cells
from xlt.sweep.run import run_sweep
from xlt.sweep.search.cells import make_search_cells, select_search_rows
from xlt.sweep.search.run import SearchOutcome, search_rates
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.selection import EVERY_CELL

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def searched_file(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_searched(experiment_file, tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def said() -> io.StringIO:
    """What the search of this module says while it goes on."""
    return io.StringIO()


@pytest.fixture(scope="module")
def outcome(
    searched_file: Path, tmp_path_factory: pytest.TempPathFactory, ray_address: str,
    said: io.StringIO,
) -> SearchOutcome:  # fmt: skip
    results = str(tmp_path_factory.mktemp("results") / "search")
    console = Console(file=said, width=200)
    return search_rates(load_experiment(searched_file), results, console=console)


def test_every_cell_gets_a_rate_and_none_is_tried_twice(
    outcome: SearchOutcome, searched_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome.plan.is_finished and not outcome.interrupted
    assert {(c.model, c.pattern) for c in outcome.chosen.cells} == {
        ("llama", "ja0"), ("llama", "ja8"), ("gpt_neox", "ja8"), ("bert", "ja0"), ("bert", "ja8"),
    }  # fmt: skip
    assert all(rate.learning_rate in SEARCH["learning_rate"] for rate in outcome.chosen.cells)
    zero = outcome.chosen.find(CellKey("llama", "ja0"))
    few = outcome.chosen.find(CellKey("gpt_neox", "ja8"))
    assert zero and few and (zero.dev, few.dev) == (("source",), ("target",))
    before = {p: p.stat().st_mtime_ns for p in Path(outcome.results.root).rglob("trial.json")}
    out = tmp_path / "rates.yaml"
    arguments = [str(searched_file), "--results", outcome.results.root, "--out", str(out)]
    assert main(["search", *arguments, "--figure", str(tmp_path / "rates.svg")]) == 0
    captured = capsys.readouterr()
    assert "nothing ran" in captured.err
    assert "without any test row" in captured.out
    assert before == {
        p: p.stat().st_mtime_ns for p in Path(outcome.results.root).rglob("trial.json")
    }
    assert "llama" in (tmp_path / "rates.svg").read_text()
    assert yaml.safe_load(out.read_text()) == yaml.safe_load(outcome.chosen.to_yaml())


def test_the_rates_are_those_of_the_trials_and_the_table(
    outcome: SearchOutcome, searched_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rates.yaml").write_text(outcome.chosen.to_yaml())
    include = f"learning_rates={tmp_path / 'rates.yaml'}"
    grid = load_grid(searched_file, include)
    for cell in grid.cells:
        rate = outcome.chosen.find(cell.key)
        assert {s.learning_rate for s in cell.specs} == ({rate.learning_rate} if rate else set())
    by_hand = "overrides=[{match: {model: bert}, learning_rate: 0.5}]"
    again = load_grid(searched_file, include, by_hand)
    assert {s.learning_rate for s in again.specs if s.base_model == "bert"} == {0.5}
    arguments = [str(searched_file), "--set", include, "--results", str(tmp_path / "r")]
    assert main(["plan", *arguments]) == 0
    assert "chosen on target dev rows" in capsys.readouterr().out
    assert main(["run", *arguments, "--backend", "inline"]) == 0
    assert "bert x ja8: learning rate" in capsys.readouterr().out


def test_rates_of_other_data_or_weights_are_refused(
    outcome: SearchOutcome, searched_file: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(outcome.chosen.to_yaml())
    values["data_fingerprint"] = "0" * 64
    values["cells"][0]["base_identity"] = "hub:other@abc"
    (tmp_path / "rates.yaml").write_text(yaml.safe_dump(values))
    experiment = load_experiment(searched_file, [f"learning_rates={tmp_path / 'rates.yaml'}"])
    with pytest.raises(InputError, match="were chosen on other data") as caught:
        expand(prepare(experiment))
    assert "was chosen for hub:other@abc" in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment(searched_file, ["learning_rates=nowhere.yaml"])


@pytest.fixture(scope="module")
def poisoned_file(searched_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment with another text in every test row."""
    folder = tmp_path_factory.mktemp("poisoned")
    values = yaml.safe_load(searched_file.read_text())
    table = pq.read_table(values["data"]["path"])
    grid = load_grid(searched_file)
    test_ids = {row_id for draw in grid.draws for row_id in draw.test}
    rows = [
        {**row, "text": f"poison {row['id']}"} if row["id"] in test_ids else row
        for row in table.to_pylist()
    ]
    poisoned = type(table).from_pylist(rows, schema=table.schema)
    assert Dataset.from_table(poisoned).fingerprint != grid.dataset.fingerprint
    pq.write_table(poisoned, folder / "poisoned.parquet")
    values["data"]["path"] = str(folder / "poisoned.parquet")
    file = folder / "poisoned.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def planned(file: Path) -> tuple[set[str], set[str], Dataset]:
    """Trials that a search would run first, ids of test rows, and the rows that it sees."""
    grid = load_grid(file)
    rows = select_search_rows(grid)
    cells = make_search_cells(grid, rows, EVERY_CELL)
    trials = {spec.trial_id for cell in cells for spec in cell.templates}
    return trials, {row_id for draw in grid.draws for row_id in draw.test}, rows


def test_poisoned_test_rows_change_no_trial_of_a_search(
    searched_file: Path, poisoned_file: Path
) -> None:
    trials, test_ids, rows = planned(searched_file)
    poisoned_trials, poisoned_ids, poisoned_rows = planned(poisoned_file)
    assert (trials, test_ids) == (poisoned_trials, poisoned_ids)
    assert rows.table.equals(poisoned_rows.table)
    assert not set(rows.index) & test_ids


@pytest.mark.chaos
def test_poisoned_test_rows_change_no_byte_of_a_search(
    outcome: SearchOutcome, searched_file: Path, poisoned_file: Path, tmp_path: Path
) -> None:
    """Every test text is another one, and each trial's files are the very same bytes.

    Which trials ran may differ: what ASHA gives up depends on which replicate ends first.
    """
    _, test_ids, _ = planned(searched_file)
    found = search_rates(load_experiment(poisoned_file), str(tmp_path / "r"), only=ONE).results
    done = [i for i, state in found.states(found.trial_ids()).items() if state.state == "done"]
    ours = outcome.results.states(done)
    both = [trial_id for trial_id in done if ours[trial_id].state == "done"]
    assert len(both) >= 4, "at least every replicate of the best rate"
    for trial_id in both:
        for name in ("predictions.parquet", "history.parquet", "train_rows.parquet"):
            content = found.read("trials", trial_id, name)
            assert content == outcome.results.read("trials", trial_id, name)
    for trial_id in done:
        seen = found.read_table(trial_id, "predictions")["id"].to_pylist()
        assert seen and not set(seen) & test_ids


def test_asha_gives_bad_rates_up_and_tpe_stays_within_its_number(
    searched_file: Path, tmp_path: Path, ray_address: str
) -> None:
    settings = [
        "search.searcher=tpe", "search.num_configs=6", "search.reduction_factor=2",
        "search.learning_rate={low: 1.0e-6, high: 1.0e-1}", "search.seeds=[5, 6, 7]",
    ]  # fmt: skip
    experiment = load_experiment(searched_file, settings)
    found = search_rates(experiment, str(tmp_path / "r"), only=ONE)
    (choice,) = found.choices
    first = [one for one in choice.tried if 1e-6 <= one.config.learning_rate <= 1e-1]
    assert len(first) == 6
    given_up = [one for one in choice.tried if not one.is_complete]
    assert given_up and choice.best is not None
    assert all(one.config.num_tried < 6 for one in given_up)


def test_replicates_of_a_config_share_passes(
    searched_file: Path, tmp_path: Path, ray_address: str, outcome: SearchOutcome
) -> None:
    experiment = load_experiment(searched_file, ["packing=2"])
    found = search_rates(experiment, str(tmp_path / "r"), only="model=llama,pattern=ja8")
    (choice,) = found.choices
    (alone,) = (one for one in outcome.choices if one.cell.name == choice.cell.name)
    assert choice.best is not None and alone.best is not None
    assert choice.best.config.learning_rate == alone.best.config.learning_rate
    records = [found.results.state(name).record or {} for name in found.results.trial_ids()]
    done = [record for record in records if "execution" in record]
    assert {record["execution"]["packed"] for record in done} == {2}


def test_a_rate_that_breaks_a_trial_is_told_and_never_chosen(
    outcome: SearchOutcome, said: io.StringIO
) -> None:
    assert "learning rate 1e+30: failed: DivergedError" in said.getvalue()
    for choice in outcome.choices:
        broken = choice.tried[-1]
        assert broken.config.learning_rate == BREAKS and "DivergedError" in broken.failures[0]
        assert choice.best is not None and choice.best is not broken
    every = write_tables(make_search_tables(outcome.plan, outcome.choices, every=True))
    assert "1e+30" in every and "DivergedError: " in every


@pytest.mark.chaos
def test_a_budget_ends_a_search_and_is_told(
    searched_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_address: str
) -> None:
    arguments = [str(searched_file), "--results", str(tmp_path / "r"), "--only", "model=bert"]
    arguments += ["--out", str(tmp_path / "rates.yaml"), "--set", "search.max_epochs=12"]
    assert main(["search", *arguments]) == 0
    captured = capsys.readouterr()
    assert "ended early: max_epochs: 12 is used up" in captured.out


def test_auto_takes_what_a_search_found_and_then_nothing_is_left(
    outcome: SearchOutcome,
    searched_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [str(searched_file), "--results", outcome.results.root]
    arguments += ["--set", "learning_rate=auto"]
    counted = Counted(monkeypatch)
    only = ["--backend", "inline", "--only", "model=bert"]
    assert main(["run", *arguments, *only]) == 0  # ids of all cells are known by then
    counted.expect_once(num_draws=3)
    part = outcome.results.read_plan("tiny")
    capsys.readouterr()
    assert main(["run", *arguments, "--backend", "inline"]) == 0
    assert outcome.results.read_plan("tiny") == part
    first = capsys.readouterr().out
    assert "gpt_neox x ja8: learning rate" in first and "dev rows" in first
    assert main(["run", *arguments]) == 0
    assert "nothing ran" in capsys.readouterr().out
    assert main(["plan", *arguments]) == 0
    assert "learning_rate: auto" in capsys.readouterr().out
    plan = outcome.results.read_plan("tiny")
    for cell in plan.cells:
        rate = outcome.chosen.find(cell.key)
        for trial in cell.trials:
            record = outcome.results.state(trial.trial_id).record
            assert rate and record and record["spec"]["learning_rate"] == rate.learning_rate


@pytest.mark.chaos
def test_auto_searches_and_runs_in_one_go(
    searched_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_address: str
) -> None:
    arguments = [str(searched_file), "--results", str(tmp_path / "r"), "--set"]
    arguments += ["learning_rate=auto", "--set", "patterns=[{ja8: {source_rows: 24}}]"]
    assert main(["run", *arguments]) == 0
    assert "gpt_neox x ja8: learning rate" in capsys.readouterr().out
    assert main(["run", *arguments]) == 0
    assert "nothing ran" in capsys.readouterr().out


def test_a_stuck_cell_is_searched_and_run_again_and_the_table_says_so(
    searched_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ray_address: str,
) -> None:
    """Footnote 2 of the paper, without anybody's help: a rate at which nothing is learnt."""
    stuck = "overrides=[{match: {model: gpt_neox}, learning_rate: 1.0e-7, why: too small}]"
    arguments = [str(searched_file), "--results", str(tmp_path / "r"), "--set", stuck]
    arguments += ["--set", "training.num_train_epochs=20", "--set", "patterns=[ja8]"]
    arguments += ["--set", "search.learning_rate=[1.0e-6, 3.0e-2]"]
    model = next(m for m in _models(searched_file) if m["name"] == "gpt_neox")
    arguments += ["--set", f"models={json.dumps([model])}"]
    inline = ["--backend", "inline"]  # the search itself is on Ray
    assert main(["run", *arguments, *inline]) == 0
    reported = capsys.readouterr().out
    assert "‡ gpt_neox x ja8: seeds 0, 1 stuck; still counted in the mean" in reported
    counted = Counted(monkeypatch)
    assert main(["run", *arguments, *inline, "--set", "on_stuck=search"]) == 0
    counted.expect_once(num_draws=1)  # for the run, the search and the second run
    captured = capsys.readouterr()
    assert "gpt_neox x ja8 did not train: 2 stuck of 2 trials" in captured.err
    assert "run again: 2 stuck of 2 trials at learning rate 1e-07" in captured.out
    assert "‡" not in captured.out
    experiment = load_experiment(arguments[0], [*arguments[4::2], "on_stuck=search"])
    outcome = run_sweep(experiment, arguments[2])
    assert outcome.num_run == 0
    (cell,) = outcome.results.read_plan("tiny").cells
    assert len(cell.replaced) == len(cell.trials) == 2
    for trial in (*cell.trials, *cell.replaced):  # the stuck results stay
        assert outcome.results.state(trial.trial_id).state == "done"
    assert not find_stuck_cells(outcome.grid.cells, outcome.results)


@pytest.mark.chaos
def test_the_footnote_of_the_paper_with_the_miniature_of_opencalm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_address: str
) -> None:
    """Ten steps on sixteen rows, at a rate that moves nothing; pre-trains it where no cache is."""
    arguments = ["quickstart", "--results", str(tmp_path / "r")]
    for setting in (
        "models=[mini-opencalm]", "patterns=[ja16]", "training.num_train_epochs=10",
        "overrides=[{match: {model: mini-opencalm}, learning_rate: 1.0e-6}]",
        "search.learning_rate={low: 1.0e-6, high: 1.0e-1}", "search.num_configs=6",
        "on_stuck=search",
    ):  # fmt: skip
        arguments += ["--set", setting]
    assert main(["run", *arguments]) == 0
    captured = capsys.readouterr()
    assert "mini-opencalm x ja16 did not train: 3 stuck of 3 trials" in captured.err
    assert "* mini-opencalm x ja16: run again: 3 stuck of 3 trials at learning" in captured.out
    assert "‡" not in captured.out


def _models(file: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = yaml.safe_load(file.read_text())["models"]
    return models


def test_what_cannot_be_searched_is_told(
    searched_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ["--results", str(tmp_path / "r"), "--out", str(tmp_path / "rates.yaml")]
    for extra, told in (
        (["--only", "model=gpt_neox,pattern=ja0"], "no cell that can exist is selected"),
        (["--only", "model=gpt_neo"], "Did you mean 'gpt_neox'"),
        (["--set", "search.searcher=tpee"], "Did you mean 'tpe'"),
        (["--set", "search.seeds=[0]"], "are seeds of the experiment, too"),
        (["--set", "search.dev_rows=60"], "ja0 dev needs 30 positive en rows; 18 left"),
        (
            [
                "--set",
                "search.training={num_train_epochs: [1, 2]}",
                "--set",
                "training={num_train_epochs: 2, average: {last_k: 2}}",
            ],
            "last_k 2 is more than num_train_epochs 1",
        ),
        (["--set", "search.num_folds=5"], "8 target rows cannot be split into 5 folds"),
        (["--format", "xls"], "unknown format 'xls'"),
    ):
        assert main(["search", str(searched_file), *results, *extra]) == 2
        captured = capsys.readouterr()
        assert told in captured.err, captured.err
        assert "Traceback" not in captured.err
