"""The real LIT on pairs of texts with three classes: stored and live contributions."""

from __future__ import annotations

import io
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from chromium import needs_chromium
from rich.console import Console
from served_lit import Served, environment
from tiny_tasks import three_classes

from xlt.analysis.trials.collect import collect
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results

__all__ = ["environment"]  # a fixture

pytestmark = [pytest.mark.lit, needs_chromium]


@pytest.fixture(scope="module")
def results(tmp_path_factory: Any, tiny_base: Callable[[str], Path]) -> str:
    """A trial of pairs with three classes, whose first six test rows are explained."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = three_classes().table.to_pylist()
    paired = [row | {"text_pair": row["text"], "text": f"{row['id']} news"} for row in rows]
    pq.write_table(pa.Table.from_pylist(paired), folder / "data.parquet")
    values = {
        "name": "pairs",
        "data": {
            "source": "table", "path": str(folder / "data.parquet"), "classes": ["0", "1", "2"],
            "columns": {"text_pair": "text_pair"},
        },
        "models": [{"name": "bert", "path": str(tiny_base("bert")), "learning_rate": 0.01}],
        "patterns": [{"ja9": {"source_rows": 30}}],
        "seeds": [0],
        "sampling": {"test_rows": 21},
        "training": {"num_train_epochs": 1, "batch_size": 8},
        "explain": {"num_samples": 60, "rows": 6},
        "storage": {"keep_models": "all"},
        "accept_findings": ["duplicates", "near_duplicates", "cues"],
    }  # fmt: skip
    experiment = Experiment.from_yaml(yaml.safe_dump(values), "pairs")
    location = str(folder / "results")
    run_sweep(experiment, location, backend="inline", console=Console(file=io.StringIO()))
    return location


def table_of(results: str) -> Any:
    (trial,) = (row.trial_id for row in collect(results).rows)
    return read_attributions(Results(results), trial, "lime").table


@pytest.fixture
def served(request: Any, results: str, environment: Path, tmp_path: Path) -> Iterator[Served]:
    made = Served(results, environment, tmp_path, *request.param)
    yield made
    assert made.end(signal.SIGINT) == 0


def ask_contributions(served: Served, row: Any, label: int) -> Any:
    names = {"model": "bert ja9 seed 0", "dataset_name": "test rows (ja)"}
    query = names | {"interpreter": "contributions by lime"}
    path = "&".join(f"{key}={urllib.request.quote(value)}" for key, value in query.items())
    config = {"_salience_target": {"field": "probabilities", "index": label}}
    (made,) = served.ask(f"get_interpretations?{path}", {"inputs": [row], "config": config})
    return made


@pytest.mark.parametrize("served", [(), ("--live",)], indirect=True, ids=["stored", "live"])
def test_each_text_has_its_contributions_to_each_class(
    served: Served, results: str, request: Any
) -> None:
    rows = served.ask("get_dataset?dataset_name=" + urllib.request.quote("test rows (ja)"))
    (explained,) = table_of(results).slice(0, 1).to_pylist()
    row = next(r for r in rows if r["data"]["id"] == explained["id"])
    assert f"{row['data']['text']}\n{row['data']['text_pair']}" == explained["text"]
    made = ask_contributions(served, row, explained["explained"])
    assert list(made) == ["lime: text", "lime: text_pair"]
    tokens = [token for part in made.values() for token in part["tokens"]]
    salience = [value for part in made.values() for value in part["salience"]]
    assert tokens == explained["pieces"]
    assert salience == pytest.approx(explained["coefficients"])
    assert len(made["lime: text_pair"]["tokens"]) == sum(explained["segments"])
    others = [label for label in range(3) if label != explained["explained"]]
    if "live" not in request.node.name:
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask_contributions(served, row, others[0])
        assert "are not stored, those to" in raised.value.read().decode()
        return
    added = np.array(salience)
    for label in others:  # probabilities sum to 1, so contributions sum to 0
        parts = ask_contributions(served, row, label).values()
        added += [value for part in parts for value in part["salience"]]
    assert added == pytest.approx(np.zeros(len(added)), abs=1e-5)
