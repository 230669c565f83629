"""xlt check on base models: what cannot be had or loaded is told, all of it together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub
from preflights import make_node, one, preflight, told, with_settings

from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment

REFUSED = {
    "gated": "is gated and this machine's token has no access",
    "pickled": "holds its weights as pickle only (pytorch_model.bin)",
    "mute": "holds no tokenizer",
    "narrow": "unknown module 'q_prj'. Did you mean 'q_proj'?",
}
"""Hub ids that the grid takes without asking for files, and what the check says of each."""


@pytest.fixture
def refusing(hub: Hub, tiny_base: Callable[[str], Path], tmp_path: Path) -> list[dict[str, Any]]:
    """The base models of REFUSED, on the hub."""
    for name in REFUSED:
        folder = Path(shutil.copytree(tiny_base("llama"), tmp_path / f"hub-{name}"))
        hub.folders[f"org/{name}"] = folder
    hub.gated.add("org/gated")
    weights = hub.folders["org/pickled"] / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    (hub.folders["org/mute"] / "tokenizer.json").unlink()
    settings = {"method": "lora", "learning_rate": 0.01}
    models = [{"name": n, "path": f"org/{n}", **settings} for n in REFUSED]
    models[-1]["lora"] = {"target_modules": ["q_prj"]}
    return models


def test_base_models_that_cannot_be_had_are_told_together(
    refusing: list[dict[str, Any]],
    experiment_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = yaml.safe_load(experiment_file.read_text())
    values["models"] += refusing
    file = tmp_path / "hub.yaml"
    file.write_text(yaml.safe_dump(values))
    assert main(["check", str(file), "--results", str(tmp_path / "r")]) == 3
    out = capsys.readouterr().out
    problems = [line for line in out.splitlines() if line.startswith("  error: ")]
    assert out.splitlines().index(problems[0]) > out.splitlines().index("Time")  # one list, last
    for name, part in REFUSED.items():
        assert [line for line in problems if line.startswith(f"  error: {name}: ") and part in line]
    assert [x for x in out.splitlines() if x.startswith("  bert") and "speed measured" in x]


def test_what_the_grid_refuses_is_told_with_what_the_hub_does(
    refusing: list[dict[str, Any]],
    experiment_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = {"name": "nothing", "path": "org/nothing", "method": "full"}
    nowhere = {"name": "nowhere", "path": "./nowhere", "method": "full"}
    models = json.dumps([nothing, *refusing, nowhere])
    arguments = [str(experiment_file), "--set", f"models={models}"]
    assert main(["check", *arguments, "--results", str(tmp_path / "r")]) == 2
    lines = capsys.readouterr().err.splitlines()
    for name, part in {
        "nothing": "the hub has no repository 'org/nothing'",
        "nowhere": "no folder './nowhere'",
        **{name: REFUSED[name] for name in ("gated", "pickled", "mute")},
    }.items():
        (line,) = [line for line in lines if line.startswith(f"  - base model {name!r}: ")]
        assert part in line


def test_a_download_that_does_not_fit(hub: Hub, small: Experiment) -> None:
    whole = {"name": "whole", "path": "org/bert", "method": "full", "learning_rate": 0.01}
    experiment = with_settings(small, models=[whole])
    needed = (hub.folders["org/bert"] / "model.safetensors").stat().st_size
    looked_at = preflight(experiment, make_node(hub_cache_free=needed - 1))
    assert "are to be downloaded, and /hub on node has" in told(one("models", looked_at))
    enough = preflight(experiment, make_node(hub_cache_free=needed))
    assert told(one("models", enough)) == ""


def test_a_tokenizer_of_another_model_is_a_warning(
    small: Experiment, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_base("bert"), tmp_path / "mixed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 99}))
    mixed = {"name": "mixed", "path": str(folder), "method": "full", "learning_rate": 0.01}
    outcome = one("models", preflight(with_settings(small, models=[mixed]), asks_hub=False))
    assert told(outcome) == ""
    assert "mixed: its tokenizer begins texts with '[CLS]'" in told(outcome, "warning")
    assert "give the tokenizer that belongs to the model" in told(outcome, "warning")


def test_a_folder_without_safetensors_stops_a_run(
    experiment_file: Path, tiny_base: Callable[[str], Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "base"
    folder.mkdir()
    for file in tiny_base("bert").iterdir():
        name = file.name.replace("model.safetensors", "pytorch_model.bin")
        (folder / name).write_bytes(file.read_bytes())
    models = [{"name": "pickled", "path": str(folder), "method": "full", "learning_rate": 0.01}]
    arguments = [str(experiment_file), "--set", f"models={json.dumps(models)}"]
    arguments += ["--results", str(tmp_path / "r"), "--backend", "inline"]
    assert main(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert "base model 'pickled': " in captured.err
    assert "holds its weights as pickle only (pytorch_model.bin)" in captured.err
