"""A package of plug-ins, installed with pip: a trial from its plan to its explanations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from grids import load_grid
from plugins import forget_plugins, install_sample
from sklearn.metrics import balanced_accuracy_score

from xlt.data.core.errors import InputError
from xlt.data.sources.registry import SOURCES, load_dataset, parse_source
from xlt.sweep.cli.main import main
from xlt.sweep.cluster import TEMPLATES
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.on_ray.node_differences import list_used_plugins
from xlt.trainables.explain.registry import EXPLAINERS
from xlt.trainables.methods.registry import METHODS
from xlt.trainables.metrics.registry import METRICS
from xlt.trainables.models.base_models import BASE_MODELS
from xlt.trainables.results.result import Results
from xlt.trainables.training.loop import choose_base_dtype

REGISTRIES = (SOURCES, BASE_MODELS, METRICS, METHODS, EXPLAINERS, TEMPLATES)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_sample(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    forget_plugins(*REGISTRIES)
    yield
    monkeypatch.undo()
    forget_plugins(*REGISTRIES)


@pytest.fixture
def settings(experiment_file: Path) -> list[str]:
    path = next(m for m in load_experiment(experiment_file).models if m.name == "bert").path
    model = f"{{name: bert, path: {path}, method: biases, learning_rate: 0.01}}"
    cells = "patterns=[{ja8: {source_rows: 24}}]"
    return [f"models=[{model}]", cells, "seeds=[0]", "storage.keep_models=all"]


def test_a_trial_of_plugins(
    installed: None, experiment_file: Path, settings: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The method trains biases and head only, the metric is reported, the explainer explains."""
    uri = str(tmp_path / "results")
    changes = [word for setting in settings for word in ("--set", setting)]
    assert main(["run", str(experiment_file), *changes, "--results", uri]) == 0
    results = Results(uri)
    (trial_id,) = [file.name for file in (tmp_path / "results/trials").iterdir()]
    record = json.loads((tmp_path / f"results/trials/{trial_id}/trial.json").read_text())
    assert record["spec"]["method"] == "biases"
    assert record["signature"]["versions"]["xlt-sample"] == "1.2"
    rows = results.read_table(trial_id, "predictions")
    y_true, y_score = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
    expected = balanced_accuracy_score(y_true, y_score >= 0.5)
    assert record["metrics"]["balanced"] == pytest.approx(expected)
    capsys.readouterr()

    assert main(["report", uri, "--metrics", "balanced"]) == 0
    assert "Balanced accuracy; rows at probability >= 0.5" in capsys.readouterr().out
    assert main(["explain", uri, "--method", "alone", "--rows", "2", "--backend", "inline"]) == 0
    assert main(["explanations", uri, "--method", "alone", "--min-count", "1"]) == 0
    assert main(["report", uri]) == 0


def test_results_of_plugins_are_read_without_them(
    site: Path, experiment_file: Path, settings: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A colleague without the package reads the tables, and cannot train."""
    uri = str(tmp_path / "results")
    changes = [word for setting in settings for word in ("--set", setting)]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        forget_plugins(*REGISTRIES)
        assert main(["run", str(experiment_file), *changes, "--results", uri]) == 0
    forget_plugins(*REGISTRIES)
    capsys.readouterr()
    assert main(["report", uri, "--metrics", "balanced"]) == 0
    assert capsys.readouterr().out.startswith("Balanced.")
    assert main(["status", uri]) == 0
    assert main(["explain", uri, "--backend", "inline"]) == 2
    assert (
        "method: unknown method 'biases'. Known: bitfit, embed, full, head, lora"
        in capsys.readouterr().err
    )
    assert main(["run", str(experiment_file), *changes, "--results", uri]) == 2
    assert (
        "method: unknown method 'biases'. Known: bitfit, embed, full, head, lora"
        in capsys.readouterr().err
    )


def test_the_other_kinds(installed: None, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset(parse_source({"source": "sample", "rows": 20}))
    assert len(dataset.table) == 40
    with pytest.raises(InputError, match=r"unknown key 'row'\. Did you mean 'rows'"):
        parse_source({"source": "sample", "row": 20})
    assert load_experiment("quickstart", ["models=[sample-bert]"]).models[0].size == "tiny"
    template = ["cluster", "template", "plain", "quickstart", "--results", "s3://bucket/results"]
    assert main([*template, "--option", "queue=long"]) == 0
    assert capsys.readouterr().out.startswith("# queue long, 2 nodes\nxlt run quickstart")


def test_nodes_are_compared_by_the_plugins_that_trials_use(
    installed: None, experiment_file: Path, settings: list[str], tmp_path: Path
) -> None:
    def used(*changes: str) -> list[str]:
        grid = load_grid(experiment_file, *changes, f"storage.results={tmp_path / 'r'}")
        return [plugin.name for plugin in list_used_plugins(grid.specs)]

    assert used(*settings) == ["biases", "balanced"]
    assert used("seeds=[0]") == ["balanced"]


def test_a_learning_rate_is_required(
    installed: None, experiment_file: Path, settings: list[str]
) -> None:
    changes = [setting.replace(", learning_rate: 0.01", "") for setting in settings]
    with pytest.raises(InputError, match="method biases has no default learning_rate; give one"):
        load_grid(experiment_file, *changes)


def test_weights_that_a_plugin_trains_are_not_rounded(
    installed: None, experiment_file: Path, settings: list[str], tmp_path: Path
) -> None:
    """AdamW's steps are too small for bf16; a base model that stays frozen is in bf16."""
    where = f"storage.results={tmp_path / 'r'}"
    bf16 = ["seeds=[0]", "training.precision=bf16", where]
    specs = load_grid(experiment_file, *settings, *bf16).specs
    specs += load_grid(experiment_file, *bf16).specs
    dtypes = {spec.method: choose_base_dtype(spec, torch.device("cpu")) for spec in specs}
    half, whole = torch.bfloat16, torch.float32
    assert dtypes == {"biases": whole, "full": whole, "lora": half}


def test_commands_see_an_installed_package(site: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"}
    (tmp_path / "xlt_broken-0.1.dist-info").mkdir()
    (tmp_path / "xlt_broken-0.1.dist-info/METADATA").write_text("Name: xlt-broken\nVersion: 0.1\n")
    entry = "[xlt.models]\nbroken = no_such_module:MODEL\n"
    (tmp_path / "xlt_broken-0.1.dist-info/entry_points.txt").write_text(entry)
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    process = subprocess.run(
        [sys.executable, "-m", "xlt", "plan", "quickstart", "--set", "models=[sample-bert]"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "sample-bert" in process.stdout
    assert "plug-in 'broken' of xlt-broken 0.1 (xlt.models) is left out: Mod" in process.stderr
