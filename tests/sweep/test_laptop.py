"""The shipped experiment laptop, on rows in SIB-200's form and tiny checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from grids import load_grid
from hub_folders import SIB_COUNTS, write_whole_sib200

from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.trainables.models.architectures import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def settings(tmp_path: Path, tiny_base: Callable[[str], Path]) -> list[str]:
    """Values that replace the downloads: rows of the right form, and tiny checkpoints."""
    models = (
        f"models=[{{name: encoder, path: '{tiny_base('bert')}'}}, "
        f"{{name: decoder, path: '{tiny_base('llama')}'}}, "
        f"{{name: japanese, path: '{tiny_base('gpt_neox')}', languages: [ja]}}]"
    )
    return [f"data.dataset={write_whole_sib200(tmp_path / 'sib200')}", models]


def test_its_models_are_of_listed_architectures() -> None:
    """Model types in config.json of the repositories."""
    kinds = {model.path: model.kind for model in load_experiment("laptop").models}
    types = {
        "intfloat/multilingual-e5-small": "bert",
        "distilbert/distilbert-base-multilingual-cased": "distilbert",
        "FacebookAI/xlm-roberta-base": "xlm-roberta",
        "HuggingFaceTB/SmolLM2-135M": "llama",
        "tohoku-nlp/bert-base-japanese-v3": "bert",
    }
    assert kinds == {path: ARCHITECTURES[model_type].kind for path, model_type in types.items()}


def test_sib200_has_enough_rows_for_every_pattern(settings: list[str]) -> None:
    positive = load_experiment("laptop").data.as_given()["positive"]
    assert sum(SIB_COUNTS.values()) == 1004
    assert sum(SIB_COUNTS[topic] for topic in positive) == 445
    grid = load_grid("laptop", *settings)
    cells = {(spec.base_model, spec.pattern.name) for spec in grid.specs}
    assert len(cells) == 8  # the Japanese model has no ja0
    rows = {(spec.pattern.target_rows, spec.pattern.source_rows) for spec in grid.specs}
    assert {(0, 512), (16, 512), (104, 512)} <= rows


def test_plan_run_and_boundary(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "patterns=[{ja0: {source_rows: 24}}, {ja16: {source_rows: 24}}]", "seeds=[0, 1]",
        "training.num_train_epochs=1",
    ]  # fmt: skip
    arguments = ["laptop", "--results", str(tmp_path / "results")]
    arguments += [word for setting in [*settings, *small] for word in ("--set", setting)]
    assert main(["plan", *arguments]) == 0
    planned = capsys.readouterr().out
    assert "5 cells x 2 seeds [0, 1], each on its own draw of training rows; 1 cells" in planned
    assert main(["run", *arguments, "--backend", "inline"]) == 0
    assert "Table 4" in capsys.readouterr().out
    assert main(["boundary", str(tmp_path / "results")]) == 0
    assert "japanese x ja16" in " ".join(capsys.readouterr().out.split())
