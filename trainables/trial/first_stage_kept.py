"""Take the first stage of a trial from the kept model of the trial that it repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.trainables.results.location import LostLocationError
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.epoch_ends import list_planned_epochs
from xlt.trainables.training.first_stage import FirstStage
from xlt.trainables.trial.model_files import load_kept_weights, read_kept_weights
from xlt.trainables.trial.rows import make_train_rows
from xlt.trainables.trial.signature import list_differences, make_signature

if TYPE_CHECKING:
    from xlt.trainables.trial.run_trial import PreparedTrial


@dataclass(frozen=True)
class KeptFirstStage:
    """The trial whose training the first stage repeats.

    Attributes:
        results: Results location of the trial.
        trial_id: Id of the trial, which may be in any state.
    """

    results: Results
    trial_id: str


def take_first_stage(first: PreparedTrial, kept: KeptFirstStage) -> FirstStage | str:
    """Load the model of a done trial that trained as the first stage would, to the last bit.

    Every worker must call this.

    Args:
        first: The first stage; its model gets the kept weights.
        kept: The trial.

    Returns:
        The results of the stage; or why the stage must be trained, with the model unchanged.

    Raises:
        LostLocationError: The results location was lost.
    """
    workers = first.workers
    taken: FirstStage | str = ""
    if workers.is_first:
        try:
            taken = retry(lambda: _read_first_stage(first, kept))
            weights = retry(lambda: read_kept_weights(kept.results, kept.trial_id))
        except LostLocationError:
            raise
        except (InputError, OSError) as error:  # e.g. weights that a better trial replaced
            taken = f"{kept.trial_id}: {error}"
    taken = workers.broadcast(taken)
    if isinstance(taken, FirstStage):
        if not workers.is_first:
            weights = retry(lambda: read_kept_weights(kept.results, kept.trial_id))
        load_kept_weights(first.model, weights, first.spec.method)
    return taken


def _read_first_stage(first: PreparedTrial, kept: KeptFirstStage) -> FirstStage:
    """Read the results of the done trial.

    Raises:
        InputError: It is not done, or trained in another way.
    """
    results, trial_id = kept.results, kept.trial_id
    state = results.state(trial_id)
    if state.state != "done" or state.record is None:
        raise InputError(f"the trial is {state.state}")
    record = state.record
    if TrialSpec.parse(record["spec"]).training_identity() != first.spec.training_identity():
        raise InputError("the trial has other settings")
    differ = list_differences(
        record["signature"], make_signature(first.spec, first.base, first.device)
    )
    differ += _list_other_passes(record["execution"], first)
    if differ:
        raise InputError(f"the trial ran under other conditions: {'; '.join(differ)}")
    rows = results.read_table(trial_id, "train_rows")
    score = np.array(rows["y_score"].to_pylist(), np.float64)
    if not rows.equals(make_train_rows(first.train, score)):
        raise InputError("the trial was trained on other rows")
    history, training = results.read_table(trial_id, "history"), first.spec.training
    num_epoch_steps = history.num_rows // training.num_train_epochs
    return FirstStage(
        history=history,
        train_score=score,
        kept_steps=[epoch * num_epoch_steps for epoch in list_planned_epochs(training)],
        taken_from=trial_id,
    )


def _list_other_passes(execution: Mapping[str, Any], first: PreparedTrial) -> list[str]:
    """List what was computed in other passes, so that sums were rounded otherwise.

    On a GPU two trainings never round all sums alike, so any passes count as equal there.
    """
    if first.device.type == "cuda":
        return []
    resources = first.spec.resources
    now = {
        "num_workers": first.workers.size,
        "packed": 1,
        "micro_batch_size": resources.micro_batch_size,
        "times_out_of_memory": 0,
    }
    return [
        f"{name} {execution.get(name)}, here {value}"
        for name, value in now.items()
        if execution.get(name) != value
    ]
