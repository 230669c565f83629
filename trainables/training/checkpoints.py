"""Checkpoints: the state of a running trial, from which a killed trial resumes.

A checkpoint is one safetensors file (no pickle) beside the result folders. It holds the trained
weights, the optimiser's moments, the state of the random generators and the number of steps, and
the hash of all of these. It is removed when the trial is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.trainables.results.result import Results
from xlt.trainables.training.checkpoint_file import read_checkpoint, write_checkpoint
from xlt.trainables.training.first_stage import FirstStage
from xlt.trainables.training.micro_batches import get_random_state, set_random_state
from xlt.trainables.training.trained_weights import (
    OPTIONS,
    exchanged_weights,
    gather_trained_weights,
)
from xlt.trainables.training.workers import Workers


@dataclass(frozen=True)
class LoopState:
    """Tensors that the training loop fills step by step, in addition to weights and optimiser.

    Attributes:
        same: Tensors that are equal in every worker.
        parts: Tensors that count as their sum over the workers.
        copies: A tensor like each trained weight, sharded as it is; or none.
    """

    same: dict[str, torch.Tensor] = field(default_factory=dict)
    parts: dict[str, torch.Tensor] = field(default_factory=dict)
    copies: Sequence[torch.Tensor] = ()


class PreemptedError(Exception):
    """A trial that ended early because its process must exit; it resumes from its checkpoint.

    Args:
        step: Last step of the checkpoint; 0: a baseline, which has no checkpoint and starts again.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"preempted at step {step}")
        self.step = step


@dataclass
class Checkpoints:
    """Checkpoints of one trial: writes, reads and times them.

    Attributes:
        results: Location of the result folders.
        trial_id: Id of the trial.
        seconds: Minimum time between two checkpoints; 0 means after every step.
        versions: Versions of the packages that compute results. A checkpoint of other versions is
            not resumed.
        preempted: Function that returns whether the process must exit. It is called at every step;
            if it returns True, a checkpoint is written first.
        resumed_at: Steps at which the trial resumed from a checkpoint.
        unwritable: Why the last checkpoint could not be written; empty if it could. The trial
            continues without one.
        not_resumed: Why the trial once did not resume from an existing checkpoint, but started
            from the beginning; empty if that did not happen.
        first_stage: Results of the first of two stages while the second one trains, else None. A
            checkpoint of one stage is not resumed in the other.
    """

    results: Results
    trial_id: str
    seconds: float
    versions: dict[str, str]
    preempted: Callable[[], bool] = lambda: False
    resumed_at: list[int] = field(default_factory=list)
    unwritable: str = ""
    not_resumed: str = ""
    first_stage: FirstStage | None = None
    _is_in_second: bool = False
    _last: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Return whether to write a checkpoint: the last one is old, or the process must exit."""
        return self.preempted() or time.monotonic() - self._last >= self.seconds

    def raise_if_preempted(self, step: int, workers: Workers, device: torch.device) -> None:
        """Raise PreemptedError in every worker if one of them must exit; call it after a save."""
        if workers.any_true(self.preempted(), device):
            raise PreemptedError(self._num_before + step)

    @property
    def _num_before(self) -> int:
        """Number of steps of the stage before."""
        return self.first_stage.history.num_rows if self.first_stage else 0

    def save(
        self,
        model: Any,
        optimizer: torch.optim.Optimizer,
        step: int,
        loop_state: LoopState,
        workers: Workers,
    ) -> None:
        """Write the state after a step. Every worker must call this; the first one writes.

        Args:
            model: Model whose trained parameters are written.
            optimizer: Optimiser whose moments are written.
            step: Number of steps taken.
            loop_state: Other tensors that the loop fills step by step.
            workers: Workers that train the trial together.
        """
        tensors = {f"model.{k}": v for k, v in gather_trained_weights(model).items()}
        if loop_state.copies:
            with exchanged_weights(model, loop_state.copies):
                copies = gather_trained_weights(model)
                tensors |= {f"copies.{k}": v.clone() for k, v in copies.items()}
        moments: Any = get_optimizer_state_dict(model, optimizer, options=OPTIONS)
        for parameter, values in moments.get("state", {}).items():
            tensors |= {f"optimizer.{parameter}.{name}": value for name, value in values.items()}
        tensors |= {f"same.{k}": v for k, v in loop_state.same.items()}
        tensors |= {f"parts.{k}": workers.sum(v.clone()) for k, v in loop_state.parts.items()}
        for number, state in enumerate(get_random_state()):
            states = workers.gather(state)
            tensors |= {f"random.{number}.{rank}": s for rank, s in enumerate(states)}
        metadata = {"first_stage": ""}
        if self.first_stage:
            metadata["first_stage"], arrays = self.first_stage.to_arrays()
            tensors |= {f"first_stage.{k}": torch.from_numpy(v) for k, v in arrays.items()}
        self._last = time.monotonic()
        if not workers.is_first:
            return
        metadata |= {
            "step": str(step),
            "versions": json.dumps(self.versions, sort_keys=True),
            "resumed_at": json.dumps(self.resumed_at),
            "not_resumed": self.not_resumed,
        }
        try:
            self.results.save_checkpoint(self.trial_id, write_checkpoint(metadata, tensors))
        except (pa.ArrowException, OSError) as error:
            self.unwritable = str(error)

    def restore(
        self,
        model: Any,
        optimizer: torch.optim.Optimizer,
        loop_state: LoopState,
        workers: Workers,
    ) -> int:
        """Restore the state that :meth:`save` wrote.

        The first worker reads the file and sends it to the others. On a network disk another
        machine may still see the previous checkpoint, and workers at different steps would wait for
        each other forever.

        Returns:
            Number of steps taken; 0 if there is no checkpoint, or if it is damaged, of other
            versions or of another form, see :attr:`not_resumed`.

        Raises:
            RuntimeError: The first stage was not trained, because there was a checkpoint of the
                second one, which is lost now.
        """
        metadata: dict[str, str] = {}
        tensors: dict[str, torch.Tensor] = {}
        if workers.is_first:
            is_second = self.first_stage is not None
            metadata, tensors = self._read(model, loop_state, is_second=is_second)
        small = {k: v for k, v in tensors.items() if k.startswith(("same.", "random."))}
        metadata, small = workers.broadcast((metadata, small))
        if not metadata and self._is_in_second:
            raise RuntimeError(
                "the checkpoint of the second stage was there and is lost; run the trial again"
            )
        if not metadata:
            return 0
        options = replace(OPTIONS, broadcast_from_rank0=workers.size > 1)
        if loop_state.copies:
            with exchanged_weights(model, loop_state.copies):
                copies: Any = _take_prefixed(tensors, "copies.")
                set_model_state_dict(model, copies, options=options)
        weights: Any = _take_prefixed(tensors, "model.")
        set_model_state_dict(model, weights, options=options)
        moments: Any = get_optimizer_state_dict(model, optimizer, options=OPTIONS)
        for name, value in _take_prefixed(tensors, "optimizer.").items():
            parameter, _, moment = name.rpartition(".")
            moments["state"][parameter][moment] = value
        set_optimizer_state_dict(model, optimizer, moments, options=options)
        for name, tensor in loop_state.same.items():
            tensor.copy_(small[f"same.{name}"])
        for name, tensor in loop_state.parts.items():
            tensor.copy_(tensors[f"parts.{name}"] if workers.is_first else torch.zeros_like(tensor))
        generators = [
            small[key] for number in range(2) if (key := f"random.{number}.{workers.rank}") in small
        ]
        if generators:  # none for a rank that the checkpoint does not have
            set_random_state(generators)
        step = int(metadata["step"])
        self.resumed_at = [*json.loads(metadata["resumed_at"]), self._num_before + step]
        self.not_resumed = metadata["not_resumed"]
        return step

    def read_first_stage(self, model: Any, workers: Workers) -> FirstStage | None:
        """Read the results of the first stage from a checkpoint of the second one.

        Every worker must call this.

        Args:
            model: Model in the form in which the second stage trains it.
            workers: Workers that train the trial together.

        Returns:
            None if there is no checkpoint of the second stage that can be resumed.
        """
        stage: FirstStage | None = None
        if workers.is_first:
            metadata, tensors = self._read(model, LoopState(), is_second=True)
            if metadata:
                arrays = {k: v.numpy() for k, v in _take_prefixed(tensors, "first_stage.").items()}
                stage = FirstStage.from_arrays(metadata["first_stage"], arrays)
        stage = workers.broadcast(stage)
        self._is_in_second = stage is not None
        return stage

    def _read(
        self, model: Any, loop_state: LoopState, *, is_second: bool
    ) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
        """Read metadata and tensors of the file; both are empty if it cannot be resumed.

        Args:
            model: Model to train.
            loop_state: Other tensors that the loop fills.
            is_second: Whether the second of two stages trains.
        """
        # Retry: if the storage does not answer now, the trial would fail or start from the
        # beginning.
        content = retry(lambda: self.results.read_checkpoint(self.trial_id))
        if content is None:
            return {}, {}
        try:
            metadata, tensors = read_checkpoint(content)
        except InputError as error:
            self.not_resumed = str(error)
            return {}, {}
        if json.loads(metadata["versions"]) != self.versions:
            self.not_resumed = "the checkpoint was written by other versions of packages"
        elif bool(metadata.get("first_stage")) != is_second:
            return {}, {}
        elif not _fits(tensors, model, loop_state):
            self.not_resumed = "the checkpoint has another form, e.g. of another kind of device"
        return ({}, {}) if self.not_resumed else (metadata, tensors)


def _fits(tensors: Mapping[str, torch.Tensor], model: Any, loop_state: LoopState) -> bool:
    """Return whether the tensors are those that this process would save."""
    required = {f"same.{name}" for name in loop_state.same}
    required |= {f"parts.{name}" for name in loop_state.parts}
    if loop_state.copies:
        required |= {f"copies.{n}" for n, p in model.named_parameters() if p.requires_grad}
    # A CPU trains only the embedding rows that occur, and a GPU all of them (used_rows.py).
    shapes = {f"model.{name}": weight.shape for name, weight in model.named_parameters()}
    same_shapes = all(shapes.get(name, t.shape) == t.shape for name, t in tensors.items())
    return required <= tensors.keys() and same_shapes


def _take_prefixed(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
