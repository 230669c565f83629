"""Runs end to end on tiny checkpoints: backends agree, nothing is run twice, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mrn_archives import ESG, JAPANESE, archive, make
from result_folders import make_spec, trial_files

from xlt.data.core.errors import InputError
from xlt.sweep.backends.registry import BACKENDS, choose_backend
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.worker import CHUNK, guess_next_spec, share_specs
from xlt.sweep.run import RunOutcome, run_sweep
from xlt.trainables.spec.resources import Resources
from xlt.trainables.spec.trial_spec import TrialSpec


@pytest.fixture(scope="module")
def inline(experiment_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    results = str(tmp_path_factory.mktemp("results") / "inline")
    return run_sweep(load_experiment(experiment_file), results, backend="inline")


def test_every_trial_is_done_and_none_runs_twice(
    inline: RunOutcome, experiment_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(inline.ledger.done) == len(inline.grid.specs) == inline.num_run == 10
    before = {p: p.stat().st_mtime_ns for p in Path(inline.results.root).rglob("trial.json")}
    arguments = [str(experiment_file), "--results", inline.results.root]
    assert main(["run", *arguments]) == 0  # the Tune backend, which must not be needed
    assert "nothing ran" in capsys.readouterr().out
    assert before == {
        p: p.stat().st_mtime_ns for p in Path(inline.results.root).rglob("trial.json")
    }
    assert main(["plan", *arguments]) == 0
    assert "10 done, 0 to run" in capsys.readouterr().out
    assert main(["status", inline.results.root]) == 0
    assert "10 done of 10 trials" in capsys.readouterr().out
    assert main(["report", inline.results.root, "--format", "csv"]) == 0
    assert "gpt_neox,ja8,auroc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("num", "address", "resources", "chosen"),
    [
        (1, None, Resources(), "inline"),
        (2, None, Resources(), "ray"),
        (1, "10.0.0.1:6379", Resources(), "ray"),
        (1, None, Resources(workers=2), "ray"),
        (1, None, Resources(accelerator_type="H100"), "ray"),
    ],
)
def test_a_single_trial_on_this_machine_needs_no_ray(
    num: int, address: str | None, resources: Resources, chosen: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    spec = make_spec("bert", "ja0", 0).model_copy(update={"resources": resources})
    assert choose_backend(address, [spec] * num) == chosen
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert choose_backend(address, [spec] * num) == "ray"


def test_the_command_runs_a_single_trial_without_ray(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "ray", "no.such.module:Backend")
    arguments = ["run", str(experiment_file), "--results", str(tmp_path), "--set", "seeds=[0]"]
    assert main([*arguments, "--only", "model=bert,pattern=ja8"]) == 0
    with pytest.raises(ModuleNotFoundError, match="no"):  # the other trials
        main(arguments)


def test_a_damaged_folder_is_set_aside_and_run_again(
    inline: RunOutcome, experiment_file: Path
) -> None:
    expected = trial_files(inline.results)
    victim = inline.ledger.done[0]
    damaged = Path(inline.results.root) / "trials" / victim / "predictions.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    again = run_sweep(load_experiment(experiment_file), inline.results.root, backend="inline")
    assert again.num_run == 1
    assert trial_files(again.results) == expected
    assert list((Path(inline.results.root) / "set-aside").iterdir())


def test_other_settings_under_the_same_name_are_refused(
    inline: RunOutcome, experiment_file: Path
) -> None:
    other = load_experiment(experiment_file, ["training.num_train_epochs=2"])
    with pytest.raises(InputError, match=r"num_train_epochs: 1 there, 2 here"):
        run_sweep(other, inline.results.root, backend="inline")
    rare = load_experiment(experiment_file, ["task.prevalence=0.02"])
    assert run_sweep(rare, inline.results.root, backend="inline").num_run == 0
    more = load_experiment(experiment_file, ["seeds=[0, 1, 2]"])
    assert run_sweep(more, inline.results.root, backend="inline").num_run == 5


def test_a_failing_trial_is_recorded_and_the_others_go_on(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "overrides=[{match: {model: bert, pattern: ja8}, learning_rate: 1.0e+30}]"
    arguments = [str(experiment_file), "--set", override, "--results", str(tmp_path / "r")]
    assert main(["run", *arguments, "--set", "seeds=[0]", "--backend", "inline"]) == 1
    captured = capsys.readouterr()
    assert "FAILED bert-ja8-s0" in captured.err
    assert "failed" in captured.out
    assert main(["status", str(tmp_path / "r")]) == 0
    assert "4 done, 1 failed of 5 trials" in capsys.readouterr().out


def test_selected_cells_run_and_the_others_stay_pending(
    inline: RunOutcome, experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(experiment_file), "--results", str(tmp_path / "r"), "--set", "seeds=[0]"]
    cells = "model=bert,model=gpt_neox,pattern=ja8"
    assert main(["run", *arguments, "--only", cells, "--backend", "inline"]) == 0
    told = capsys.readouterr()
    assert "Selected: 2 of 5 trials; the others are unchanged." in told.out
    assert "running 2 of 2 trials" in told.err and "[2/2]" in told.err
    ran = {p.parent.name for p in (tmp_path / "r" / "trials").glob("*/trial.json")}
    whole = {spec.trial_id for spec in inline.grid.specs if spec.seed == 0}
    assert {name.rpartition("-")[0] for name in ran} == {"bert-ja8-s0", "gpt-neox-ja8-s0"}
    assert ran < whole
    assert main(["status", str(tmp_path / "r")]) == 0
    assert "2 done, 3 missing of 5 trials" in capsys.readouterr().out
    assert main(["plan", *arguments, "--only", "pattern=ja8"]) == 0
    told = capsys.readouterr()
    assert "5 trials = 5 cells" in told.out
    assert "On one draw of training rows" in told.out
    assert "`--set draws=[0, 1, 2]`: 15 trials" in told.out
    assert "per_seed" not in told.out  # it would be the same with one seed
    assert "Selected: 3 trials of 3 cells, 1 to run" in told.out
    assert main(["run", *arguments, "--only", cells]) == 0
    assert "All 2 trials were done already; nothing ran." in capsys.readouterr().out


def test_the_exit_status_is_of_the_selected_cells(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = "overrides=[{match: {model: bert, pattern: ja8}, learning_rate: 1.0e+30}]"
    arguments = [str(experiment_file), "--set", override, "--results", str(tmp_path / "r")]
    arguments += ["--set", "seeds=[0]", "--backend", "inline", "--cells"]
    assert main(["run", *arguments, "model=bert,pattern=ja8"]) == 1
    assert "1 of 1 trials failed" in capsys.readouterr().err
    assert main(["run", *arguments, "model=bert,pattern=ja0"]) == 0
    assert "FAILED" not in capsys.readouterr().err
    nothing = "model=gpt_neox,pattern=ja0"
    for wrong, said in (("model=brt", "Did you mean 'bert'"), (nothing, "no cell that can exist")):
        assert main(["run", *arguments, wrong]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "quickstat"], "Did you mean 'quickstart'"),
        (["run", "quickstart", "--backend", "slurm"], "Known: inline, ray"),
        (["run", "quickstart", "--results", "/proc/none"], "cannot be written"),
        (["status", "/proc/none"], "holds no experiment"),
    ],
)
def test_bad_input_ends_with_2_and_one_error(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


def test_status_and_report_need_neither_torch_nor_ray(inline: RunOutcome) -> None:
    code = (
        "import sys; from xlt.sweep.cli.main import main; "
        f"main(['status', {inline.results.root!r}]); main(['report', {inline.results.root!r}]); "
        "print('HEAVY', sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_the_base_of_the_next_trial_is_read_while_one_trains(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[TrialSpec] = []
    asked: list[TrialSpec] = []
    monkeypatch.setattr(
        "xlt.sweep.driver.progress.Progress.started", lambda _, spec: started.append(spec)
    )
    monkeypatch.setattr("xlt.trainables.loading.read_ahead.read_ahead", asked.append)
    experiment = load_experiment(experiment_file)
    experiment = experiment.model_copy(update={"patterns": experiment.patterns[:1]})
    run_sweep(experiment, str(tmp_path / "r"), backend="inline")
    bases = [spec.base_identity for spec in started]
    others = [
        spec
        for spec, before in zip(started[1:], bases, strict=False)
        if spec.base_identity != before
    ]
    assert asked == others
    assert 0 < len(asked) < len(started) - 1


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_a_process_reads_ahead_what_starts_after_all_slots(ray_address: str) -> None:
    specs = [make_spec("a", "ja0", seed) for seed in range(CHUNK + 8)]
    shared = {"specs": share_specs(specs), "num_specs": len(specs), "num_at_once": 3}
    last = len(specs) - 1
    members = ([0], [1, 2], [CHUNK - 2], [last - 3], [last - 2], [last - 1, last])
    later = [spec and spec.seed for spec in (guess_next_spec(m, shared) for m in members)]
    assert later == [3, 5, CHUNK + 1, last, None, None]


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_tune_gives_the_bytes_of_inline(
    inline: RunOutcome, experiment_file: Path, tmp_path: Path, ray_address: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tuned = run_sweep(load_experiment(experiment_file), str(tmp_path / "tune"))
    assert len(tuned.ledger.done) == 10
    assert "its process died" not in capsys.readouterr().err
    mine = {spec.trial_id for spec in tuned.grid.specs}
    expected = {n: c for n, c in trial_files(inline.results).items() if n.split("/")[0] in mine}
    assert trial_files(tuned.results) == expected


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_more_classes_and_pairs_under_tune_give_the_bytes_of_inline(
    experiment_file: Path, tmp_path: Path, ray_address: str
) -> None:
    """Workers get the data set in parts; its classes and second texts must be among them."""
    header = "id\ttext\tclaim\tlang\tlabel"
    rows = [
        f"{lang}{n}\t{topic} {lang} {n}\tis it {n}\t{lang}\t{topic}"
        for n in range(60)
        for topic in [("markets", "sport", "waste")[n % 3]]
        for lang in ("en", "ja")
    ]
    (tmp_path / "rows.tsv").write_text("\n".join([header, *rows]) + "\n")
    values = yaml.safe_load(experiment_file.read_text())
    values |= {
        "data": {
            "source": "table", "path": str(tmp_path / "rows.tsv"), "classes": "all",
            "columns": {"text_pair": "claim"},
        },
        "models": values["models"][2:],
        "patterns": [{"ja9": {"source_rows": 24}}],
        "sampling": {"test_rows": 21},
        "accept_findings": ["cues"],
    }  # fmt: skip
    (tmp_path / "three.yaml").write_text(yaml.safe_dump(values))
    outcomes = [
        run_sweep(
            load_experiment(tmp_path / "three.yaml"), str(tmp_path / backend), backend=backend
        )
        for backend in ("inline", "ray")
    ]
    inline, tuned = (trial_files(outcome.results) for outcome in outcomes)
    assert [len(outcome.ledger.done) for outcome in outcomes] == [2, 2]
    assert inline == tuned


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_an_archive_is_read_over_a_cluster_as_on_this_machine(
    tmp_path: Path, ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for month in ("2021-05", "2021-06", "2021-07"):
        items = [make(f"{month}-{n}", **({} if n % 3 else JAPANESE)) for n in range(9)]
        file = tmp_path / "archive" / f"STORY.RTRS.{month}.REC.JSON.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(archive(*items))
    source = {"source": "mrn", "path": str(tmp_path / "archive"), "positive": [ESG]}
    (tmp_path / "mrn.yaml").write_text(yaml.safe_dump(source))
    command = ["data", "prepare", str(tmp_path / "mrn.yaml"), "--out"]
    assert main([*command, str(tmp_path / "alone")]) == 0
    assert main([*command, str(tmp_path / "spread"), "--address", ray_address]) == 0
    told = capsys.readouterr().out
    assert told.count("read 27 = kept 27 + dropped 0 + rejected 0") == 2
    for name in ("data.parquet", "rejects.parquet", "manifest.json"):
        alone, spread = (tmp_path / where / name for where in ("alone", "spread"))
        assert alone.read_bytes() == spread.read_bytes()
