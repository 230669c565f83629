"""xlt explain and the explain block: from a file to attributions in every trial's folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from result_folders import trial_files
from rich.console import Console

from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.explain import explain_trials
from xlt.sweep.run import run_sweep
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain

SETTINGS = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]"]


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: Any, experiment_file: Path) -> str:
    """Three trials; the decoders kept their adapters, BERT nothing."""
    results = str(tmp_path_factory.mktemp("kept") / "results")
    experiment = load_experiment(experiment_file, [*SETTINGS, "storage.keep_models=adapters"])
    run_sweep(experiment, results, backend="inline", console=quiet())
    return results


def ids(results: str) -> dict[str, str]:
    rows = collect(results).table.to_pylist()
    return {row["base_model"]: row["trial_id"] for row in rows}


def explain(results: str, *arguments: str) -> int:
    return main(["explain", results, "--backend", "inline", "--num-samples", "40", *arguments])


def test_explains_what_was_kept_and_goes_on_where_nothing_was(
    kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = trial_files(Results(kept))
    assert explain(kept) == 1
    told = capsys.readouterr()
    assert "2 trials explained, 1 failed" in told.out
    assert "the trial kept no model; remove its folder and train it again" in told.err
    after = trial_files(Results(kept))
    assert {name: after[name] for name in before} == before
    added = {Path(name).name for name in after.keys() - before.keys()}
    assert added == {"attributions-lime.json", "attributions-lime.parquet"}
    assert {state.state for state in Results(kept).states(ids(kept).values()).values()} == {"done"}

    assert explain(kept, "--only", "model=llama,model=gpt_neox,pattern=ja8") == 0
    assert "0 trials explained, 2 were explained before" in capsys.readouterr().out
    assert trial_files(Results(kept)) == after
    assert explain(kept, "--only", "model=llama", "--rows", "4") == 0
    made = read_attributions(Results(kept), ids(kept)["llama"], "lime")
    assert made.table is not None and len(made.table) == 4
    assert made.settings["num_samples"] == 40


def test_while_the_trial_runs(tmp_path: Path, experiment_file: Path) -> None:
    block = ["explain={method: lime, num_samples: 30, rows: 5}"]
    experiment = load_experiment(experiment_file, [*SETTINGS, *block])
    again = Experiment.from_yaml(experiment.to_yaml(), "again")
    assert again.explain == Explain(method="lime", num_samples=30, rows=5)
    outcome = run_sweep(experiment, str(tmp_path), backend="inline", console=quiet())
    plain = load_experiment(experiment_file, SETTINGS)
    assert run_sweep(plain, str(tmp_path), backend="inline", console=quiet()).num_run == 0
    assert set(outcome.ledger.done) == set(ids(str(tmp_path)).values())
    for trial_id in outcome.ledger.done:
        made = read_attributions(Results(str(tmp_path)), trial_id, "lime")
        assert made.table is not None and len(made.table) == 5


@pytest.mark.ray
@pytest.mark.slow
def test_over_ray_as_inline(kept: str, tmp_path: Path, ray_address: str) -> None:
    settings = {"num_samples": 25, "seed": 3}
    cells = "model=llama"
    explain_trials(kept, only=cells, settings=settings, backend="inline")
    inline = read_attributions(Results(kept), ids(kept)["llama"], "lime").table
    explain_trials(kept, only=cells, settings={"num_samples": 26}, backend="inline")
    made = explain_trials(kept, only=cells, settings=settings, backend="ray")
    assert made.failed == {}
    assert read_attributions(Results(kept), ids(kept)["llama"], "lime").table.equals(inline)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--method", "lme"], "method: unknown method 'lme'. Did you mean 'lime'?"),
        (["--method", "ig"], "method ig does not use num_samples, which lime uses"),
        (["--only", "llama"], "'llama' is neither model=NAME nor pattern=NAME"),
        (["--only", "modell=llama"], "'modell=llama' is neither"),
        (["--only", "model=lama"], "unknown model 'lama'. Did you mean 'llama'?"),
        (["--class", "news"], "class: with two classes a token adds to one what it takes from the"),
        (["--rows", "0"], "rows: should be greater than 0"),
        (["--preset", "lit2"], "unknown preset 'lit2'. Did you mean 'lit'?"),
        (["--backend", "slurm"], "unknown backend 'slurm'"),
        (["--replacement", "nothing"], "replacement: should be 'auto', 'mask'"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], problem: str, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(kept, *arguments) == 2
    told = capsys.readouterr().err
    assert problem in told
    assert "Traceback" not in told


def test_other_data_than_those_of_the_experiment(kept: str, experiment_file: Path) -> None:
    source = experiment_file.parent / "data.parquet"
    content = source.read_bytes()
    pq.write_table(pq.read_table(source).slice(1), source)
    try:
        with pytest.raises(InputError, match="the data of experiment tiny have changed"):
            explain_trials(kept, settings={"num_samples": 41}, backend="inline")
    finally:
        source.write_bytes(content)
