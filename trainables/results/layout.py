"""The paths inside a results location, relative to its root.

No module outside this folder contains these names; others ask :class:`Results`.

=============================================  =====================================================
``xlt-results.json``                           marker: this folder is a results location
``experiments/<name>.yaml``                    the experiment as it was run
``experiments/<name>.plan.json``               its cells and trials
``experiments/<name>.texts.parquet``           texts of its rows, if the experiment keeps them
``experiments/<name>.rescued.yaml``            learning rates for cells that did not train
``experiments/<name>.lease.json``              the process that runs it now
``searches/<name>.plan.json``                  the last learning-rate search
``checkpoints/<trial_id>.safetensors``         state of a trial that is not finished
``trials/<trial_id>/trial.json``               record of a done trial, written last
``trials/<trial_id>/error.json``               record of a failed trial
``trials/<trial_id>/<table>.parquet``          one file for each :data:`TrialTable`
``trials/<trial_id>/model/``                   configuration and weights, if they are kept
``trials/<trial_id>/attributions-<method>.*``  explanations: a table and its record
``set-aside/``                                 files of damaged trial folders
=============================================  =====================================================
"""

from __future__ import annotations

import re
from typing import Literal

MARKER = "xlt-results.json"
EXPERIMENTS = "experiments"
SEARCHES = "searches"
CHECKPOINTS = "checkpoints"
TRIALS = "trials"
SET_ASIDE = "set-aside"
FOLDERS = (EXPERIMENTS, SEARCHES, CHECKPOINTS, TRIALS, SET_ASIDE)
"""Every folder directly inside a results location."""

RECORD = "trial.json"
FAILURE = "error.json"
MODEL = "model"
WEIGHTS_SUFFIX = ".safetensors"
PLAN_SUFFIX = ".plan.json"

EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of experiments, which are parts of file names."""
TRIAL_ID = re.compile(r"(?!\.+$)[^/\\\0]{1,255}")
"""Trial ids, each the name of a folder: it cannot lead to another one."""

TrialTable = Literal["predictions", "history", "train_rows"]
"""Tables that each done trial has; see :class:`TrialResult` for their columns."""


def experiment_file(experiment: str) -> str:
    """YAML text of an experiment as it was run."""
    return f"{EXPERIMENTS}/{experiment}.yaml"


def plan_file(experiment: str) -> str:
    """Plan of an experiment."""
    return f"{EXPERIMENTS}/{experiment}{PLAN_SUFFIX}"


def texts_file(experiment: str) -> str:
    """Texts of the rows that an experiment draws."""
    return f"{EXPERIMENTS}/{experiment}.texts.parquet"


def rescued_file(experiment: str) -> str:
    """Learning rates with which cells were run again because they did not train."""
    return f"{EXPERIMENTS}/{experiment}.rescued.yaml"


def lease_file(experiment: str) -> str:
    """Lease of the process that runs an experiment."""
    return f"{EXPERIMENTS}/{experiment}.lease.json"


def search_file(experiment: str) -> str:
    """Plan of the last learning-rate search of an experiment."""
    return f"{SEARCHES}/{experiment}{PLAN_SUFFIX}"


def checkpoint_file(trial_id: str) -> str:
    """State of a trial that is not finished."""
    return f"{CHECKPOINTS}/{trial_id}.safetensors"


def trial_folder(trial_id: str) -> str:
    """Folder of a trial."""
    return f"{TRIALS}/{trial_id}"


def trial_file(trial_id: str, name: str) -> str:
    """File of a trial; ``name`` is relative to its folder, as in its record."""
    return f"{TRIALS}/{trial_id}/{name}"


def table_name(table: TrialTable) -> str:
    """Name of a table in a trial's folder."""
    return f"{table}.parquet"


def model_name(name: str) -> str:
    """Name of a configuration or weights file in a trial's folder."""
    return f"{MODEL}/{name}"


def is_model(name: str) -> bool:
    """Whether a file of a trial's folder belongs to its model."""
    return name.startswith(f"{MODEL}/")


def is_weights(name: str) -> bool:
    """Whether a file of a trial's folder holds weights."""
    return is_model(name) and name.endswith(WEIGHTS_SUFFIX)


def attribution_names(method: str) -> tuple[str, str]:
    """Names of the table of attributions and of its record in a trial's folder."""
    return f"attributions-{method}.parquet", f"attributions-{method}.json"


def split_trial_uri(uri: str) -> tuple[str, str]:
    """Split ``RESULTS/trials/ID`` into results location and trial id.

    The location is empty if the path or URI does not name a trial's folder.
    """
    location, _, trial_id = uri.rstrip("/").rpartition(f"/{TRIALS}/")
    return location, trial_id
