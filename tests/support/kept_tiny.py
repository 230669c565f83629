"""A tiny trial that kept its model."""

from __future__ import annotations

from pathlib import Path

from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.find_trial import FinishedTrial, find_trial
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial


def keep(spec: TrialSpec, dataset: Dataset, folder: Path) -> tuple[FinishedTrial, Results]:
    results = Results(str(folder))
    results.prepare()
    results.save(run_trial(spec, dataset, keep_models="all"))
    return find_trial(f"{folder}/trials/{spec.trial_id}"), results
