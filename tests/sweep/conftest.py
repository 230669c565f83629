"""The run of a module's own experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.run import RunOutcome, run_sweep


@pytest.fixture(scope="module")
def outcome(file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """All trials of ``file``, a fixture of the module, in this process."""
    results = str(tmp_path_factory.mktemp("results") / "inline")
    return run_sweep(load_experiment(file), results, backend="inline")
