"""Texts beside the plan: which rows, when they are not kept, what is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_data import make_dataset

from xlt.data.core.errors import InputError
from xlt.sweep.backends.registry import BACKENDS
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import drop_texts, read_texts, save_texts


@pytest.fixture(params=["local", "remote"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    made = Results(str(tmp_path / "r") if request.param == "local" else "mock:///bucket/r")
    made.prepare()
    made.fs.create_dir(made.path("experiments"))
    return made


def test_the_texts_of_chosen_rows_are_read_back(results: Results) -> None:
    dataset = make_dataset()
    assert read_texts(results, "test") == {}
    save_texts(results, "test", dataset, ["ja3", "en0", "ja3"])
    found = read_texts(results, "test")
    (row,) = dataset.rows(["ja3"]).to_pylist()
    assert set(found) == {"en0", "ja3"}
    assert found["ja3"] == {
        "id": "ja3", "lang": "ja", "label": "positive", "text": row["text"], "text_pair": None,
        "published": row["published"],
    }  # fmt: skip
    assert found["en0"]["label"] == "negative"
    save_texts(results, "test", dataset, ["en1"])
    assert set(read_texts(results, "test")) == {"en1"}
    drop_texts(results, "test")
    drop_texts(results, "test")
    assert read_texts(results, "test") == {}


def test_a_damaged_file_is_told(results: Results) -> None:
    results.write("experiments/test.texts.parquet", b"no parquet")
    with pytest.raises(InputError, match=r"test\.texts\.parquet cannot be read; `xlt run` writes"):
        read_texts(results, "test")


def test_a_run_keeps_the_drawn_rows_unless_told_not_to(
    experiment_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "none", f"{__name__}:Nothing")
    location = str(tmp_path / "r")
    outcome = run_sweep(load_experiment(experiment_file), location, backend="none")
    drawn = {i for draw in outcome.grid.draws for i in (*draw.train, *draw.test)}
    kept: Mapping[str, Any] = read_texts(outcome.results, "tiny")
    assert set(kept) == drawn
    licensed = load_experiment(experiment_file, ["storage.keep_texts=false"])
    assert yaml.safe_load(licensed.to_yaml())["storage"] == {"keep_texts": False}
    run_sweep(licensed, location, backend="none")
    assert read_texts(outcome.results, "tiny") == {}


class Nothing:
    """A backend that runs no trial."""

    def __init__(self, address: str | None, specs: object) -> None: ...

    def pretrain(self, *given: object) -> None: ...

    def run(self, *given: object) -> None: ...

    def close(self) -> None: ...
