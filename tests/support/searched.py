"""An experiment whose learning rates are searched on few dev rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

BREAKS = 1e30
"""A rate with which the loss stops being finite."""
SEARCH: dict[str, Any] = {
    "learning_rate": [3e-3, 3e-2, BREAKS],
    "dev_rows": 8,
    "num_folds": 2,
    "min_dev_rows": 4,
}
ONE = "model=bert,pattern=ja8"
"""Selection of a cell."""


def write_searched(experiment_file: Path, folder: Path) -> Path:
    """Write a copy of an experiment with settings of a search."""
    values = yaml.safe_load(experiment_file.read_text()) | {"search": SEARCH}
    values["training"]["num_train_epochs"] = 3
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(values))
    return file
