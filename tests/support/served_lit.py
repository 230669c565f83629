"""`xlt lit serve` on real trials, as a user starts it: what the tests of LIT share."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ctrl_c import hear_ctrl_c
from repository import ROOT
from rich.console import Console

from xlt.analysis.trials.collect import collect
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results


@pytest.fixture(scope="module")
def results(tmp_path_factory: Any, experiment_file: Path) -> str:
    """Three trials; six test rows of each are explained, and their models are kept."""
    folder = str(tmp_path_factory.mktemp("lit") / "results")
    block = "explain={method: lime, num_samples: 60, rows: 6}"
    chosen = ["patterns=[{ja8: {source_rows: 24}}]", "seeds=[0]", "task={positive: ESG}", block]
    chosen.append("storage.keep_models=all")
    experiment = load_experiment(experiment_file, chosen)
    run_sweep(experiment, folder, backend="inline", console=Console(file=io.StringIO()))
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: Any) -> Path:
    """Install LIT (a download of 100 MB), unless a folder is given."""
    given = os.environ.get("XLT_LIT_ENV")
    folder = Path(given) if given else tmp_path_factory.mktemp("lit") / "environment"
    assert main(["lit", "install", "--env", str(folder)]) == 0
    return folder


def post(url: str, body: Any = None, **headers: str) -> Any:
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, content, headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


class Served:
    """`xlt lit serve` as a user starts it."""

    def __init__(self, results: str, environment: Path, temporary: Path, *more: str) -> None:
        command = [sys.executable, "-m", "xlt", "lit", "serve", results, "--port", "0", *more]
        self.process = subprocess.Popen(
            [*command, "--env", str(environment)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            preexec_fn=hear_ctrl_c,
        )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        url_match = next(filter(None, (re.search(r"http://\S+", line) for line in lines)))
        self.url = url_match.group()
        self.root = self.url.partition("?")[0]

    def ask(self, path: str, body: Any = None, **headers: str) -> Any:
        return post(self.root + path, body, **headers)

    def end(self, with_signal: int) -> int:
        self.process.send_signal(with_signal)
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def answers(self) -> bool:
        try:
            return bool(self.ask("get_info"))
        except OSError:
            return False


def edited(text: str) -> dict[str, Any]:
    """The body of a request about a text that is in no data set."""
    data = {"id": "ja1", "text": text, "language": "ja", "label": "ESG", "_id": ""}
    return {"inputs": [{"id": "", "data": data}]}


def stored(results: str, model: str) -> dict[str, tuple[list[str], list[float]]]:
    """Test text -> pieces and coefficients, as the trial's folder has them."""
    trials = {row["base_model"]: row["trial_id"] for row in collect(results).table.to_pylist()}
    table = read_attributions(Results(results), trials[model], "lime").table
    assert table is not None
    return {row["text"]: (row["pieces"], row["coefficients"]) for row in table.to_pylist()}


def shown(page: Any) -> list[list[tuple[str, float]]]:
    """Tokens with their values, a list a trial, top down."""
    chips = page.locator("salience-map-module lit-token-chips")
    rows = [
        chips.nth(number)
        .locator("lit-tooltip")
        .evaluate_all(
            "all => all.map(one => [one.textContent.trim(), one.getAttribute('content')])"
        )
        for number in range(chips.count())
    ]
    return [[(token, float(value)) for token, value in row] for row in rows]
