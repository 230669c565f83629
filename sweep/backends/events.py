"""Events that a worker process sends to the driver about a trial.

A trial sends any number of :class:`Step`, then exactly one of :data:`Ended`. On Ray its process
sends :class:`Ready` before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Ready:
    """The process of the trial has imported the code of trials, and starts the trial."""


@dataclass(frozen=True)
class Step:
    """The trial finished an optimiser step.

    Attributes:
        step: Number of finished steps.
        num_steps: Number of steps of the whole trial.
        loss: Training loss of this step.
    """

    step: int
    num_steps: int
    loss: float


@dataclass(frozen=True)
class Finished:
    """The trial ended, and its result folder is complete.

    Attributes:
        metrics: Name -> value on the test rows.
        convergence: The convergence record of the result, see :class:`TrialResult`.
    """

    metrics: Mapping[str, float]
    convergence: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The trial raised an error, and its folder holds ``error.json``.

    Attributes:
        error: Text of the error.
    """

    error: str


@dataclass(frozen=True)
class Preempted:
    """The trial stopped, because its machine is being taken away.

    Attributes:
        step: Number of finished steps, from where it resumes with its checkpoint; 0 for a baseline,
            which starts again.
    """

    step: int


@dataclass(frozen=True)
class Unwritable:
    """The trial ended, but its result or error could not be written.

    Attributes:
        error: Text of the storage error.
    """

    error: str


Ended: TypeAlias = Finished | Failed | Preempted | Unwritable
Event: TypeAlias = Ready | Step | Ended
