"""A baseline whose process must exit stops at a heartbeat, long before its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xlt.data.dataset.schema import Dataset
from xlt.trainables.baselines import prompt_scores
from xlt.trainables.loading import base as loading
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.methods import BASELINES
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints, PreemptedError
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]


@pytest.mark.parametrize("method", sorted(BASELINES))
def test_a_preempted_baseline_stops_at_the_next_heartbeat(
    method: str,
    tmp_path: Path,
    tiny_dataset: Dataset,
    make_spec: MakeSpec,
    make_prompt: MakeSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_scores, "BATCH_TOKENS", 1)
    spec = (
        make_spec("llama", method=method, learning_rate=None)
        if method != "prompt"
        else make_prompt()
    )
    num_asked = 0

    def run(preempted_at: int | None = None) -> TrialResult:
        nonlocal num_asked
        num_asked = 0

        def preempted() -> bool:
            nonlocal num_asked
            num_asked += 1
            return num_asked == preempted_at

        loading._LOADED.clear()  # and what earlier trials computed
        results = Results(str(tmp_path))
        return run_trial(
            spec, tiny_dataset, checkpoints=Checkpoints(results, "t", 0, {}, preempted)
        )

    undisturbed = run()
    num_heartbeats = num_asked
    assert num_heartbeats > 20  # more than those of the stages
    with pytest.raises(PreemptedError) as caught:
        run(preempted_at=num_heartbeats // 2)
    assert (caught.value.step, num_asked) == (0, num_heartbeats // 2)
    assert run().predictions.equals(undisturbed.predictions)
