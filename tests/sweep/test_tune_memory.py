"""Memory of the driver: what Tune keeps of every trial until the end of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from result_folders import make_spec
from rich.console import Console
from tiny_data import make_dataset

from xlt.sweep.backends.artifact_policy import ArtifactPolicy
from xlt.sweep.driver.progress import Progress
from xlt.trainables.results.result import Results


@pytest.mark.ray
@pytest.mark.usefixtures("ray_address")
def test_trials_share_their_request_and_keep_no_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from xlt.sweep.on_ray.tune import backend as tune_backend

    def run_nothing(config: dict[str, Any], shared: dict[str, Any]) -> None:
        from ray import tune

        from xlt.sweep.backends.events import Finished
        from xlt.sweep.on_ray.tune.reports import wrap

        (member,) = config["members"]
        tune.report(wrap(member, Finished({"f1": 0.5, "auroc": 0.5}, {})))

    trials: dict[str, Any] = {}

    class Noting(tune_backend.Watcher):
        def on_trial_complete(self, *given: Any, trial: Any, **info: Any) -> None:
            super().on_trial_complete(*given, trial=trial, **info)
            trials[trial.trial_id] = trial

    monkeypatch.setattr(tune_backend, "_trainable", run_nothing)
    monkeypatch.setattr(tune_backend, "Watcher", Noting)
    specs = [make_spec("elyza", "ja16", seed) for seed in range(6)]
    with Progress(specs, [], Console(file=io.StringIO())) as progress:
        backend, policy = tune_backend.TuneBackend(None, specs), ArtifactPolicy()
        backend.run(specs, make_dataset(), Results(str(tmp_path)), policy, progress, 1, {})
        backend.close()
    assert len(trials) == 6
    assert {trial.get_json_state() for trial in trials.values()} == {("", "")}
    assert len({id(trial.placement_group_factory) for trial in trials.values()}) == 1
