"""The state of a running trial, kept so that a killed one goes on where it was.

A checkpoint is one safetensors file (no pickle) beside the result folders: what is trained, the
optimiser's moments, the random generators and how far the data were read. It goes when the trial
is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from xlt.data.core.retry import retry
from xlt.trainables.results.result import Results
from xlt.trainables.training.micro_batches import get_random_state, set_random_state
from xlt.trainables.training.workers import Workers

OPTIONS = StateDictOptions(
    full_state_dict=True,
    cpu_offload=True,
    ignore_frozen_params=True,
    strict=False,
)
"""One form for one process, several (DDP) and sharded models (FSDP)."""


@dataclass(frozen=True)
class LoopState:
    """Tensors that a loop fills step by step, beside what it trains.

    Attributes:
        same: Those that are equal in every worker.
        parts: Those whose sum over the workers counts.
    """

    same: dict[str, torch.Tensor] = field(default_factory=dict)
    parts: dict[str, torch.Tensor] = field(default_factory=dict)


class PreemptedError(Exception):
    """A trial ended early because its process has to go; its checkpoint was written.

    Args:
        step: Up to which.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"left at step {step}")
        self.step = step


@dataclass
class Checkpoints:
    """Where a trial keeps its state while it runs.

    Attributes:
        results: Location of the result folders.
        trial_id: Of the trial.
        seconds: Least time between two checkpoints; 0: after every step.
        versions: Of the packages that compute; a checkpoint of others is not gone on from.
        preempted: Asked at every step whether the process has to go; then it writes a checkpoint
            first.
        resumed_at: Steps at which the trial went on from a checkpoint.
        unwritable: Why the last checkpoint could not be written; the trial goes on without.
    """

    results: Results
    trial_id: str
    seconds: float
    versions: dict[str, str]
    preempted: Callable[[], bool] = lambda: False
    resumed_at: list[int] = field(default_factory=list)
    unwritable: str = ""
    _last: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Whether the last one is old enough, or the process has to go."""
        return self.preempted() or time.monotonic() - self._last >= self.seconds

    def raise_if_preempted(self, step: int, workers: Workers, device: torch.device) -> None:
        """After a checkpoint: raise PreemptedError in every worker if one of them has to go."""
        if workers.any_true(self.preempted(), device):
            raise PreemptedError(step)

    def save(
        self,
        model: Any,
        optimizer: torch.optim.Optimizer,
        step: int,
        carried: LoopState,
        workers: Workers,
    ) -> None:
        """Write the state after a step; every worker takes part, the first one writes.

        Args:
            model: Its trained parameters are kept.
            optimizer: Its moments are kept.
            step: Steps taken.
            carried: What else the loop fills step by step.
            workers: Those that train together.
        """
        tensors = {f"model.{k}": v for k, v in gather_trained_weights(model).items()}
        moments: Any = get_optimizer_state_dict(model, optimizer, options=OPTIONS)
        for parameter, values in moments.get("state", {}).items():
            tensors |= {f"optimizer.{parameter}.{name}": value for name, value in values.items()}
        tensors |= {f"same.{k}": v for k, v in carried.same.items()}
        tensors |= {f"parts.{k}": workers.sum(v.clone()) for k, v in carried.parts.items()}
        for number, state in enumerate(get_random_state()):
            everyones = workers.gather(state)
            tensors |= {f"random.{number}.{rank}": s for rank, s in enumerate(everyones)}
        self._last = time.monotonic()
        if not workers.is_first:
            return
        notes = {
            "step": str(step),
            "versions": json.dumps(self.versions, sort_keys=True),
            "resumed_at": json.dumps(self.resumed_at),
        }
        own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        try:
            self.results.save_checkpoint(self.trial_id, save(own, notes))
        except (pa.ArrowException, OSError) as error:
            self.unwritable = str(error)

    def restore(
        self,
        model: Any,
        optimizer: torch.optim.Optimizer,
        carried: LoopState,
        workers: Workers,
    ) -> int:
        """Put back what :meth:`save` wrote.

        The first worker reads and tells the others: on a network disk another machine may still
        see the checkpoint before, and workers at different steps would wait for each other for
        ever.

        Returns:
            Steps taken; 0 where there is no checkpoint, or a damaged one, or one of other versions
            or of another form.
        """
        notes, tensors = self._read(carried) if workers.is_first else ({}, {})
        small = {k: v for k, v in tensors.items() if k.startswith(("same.", "random."))}
        notes, small = workers.broadcast((notes, small))
        if not notes:
            return 0
        options = replace(OPTIONS, broadcast_from_rank0=workers.size > 1)
        weights: Any = _take_prefixed(tensors, "model.")
        set_model_state_dict(model, weights, options=options)
        moments: Any = get_optimizer_state_dict(model, optimizer, options=OPTIONS)
        for name, value in _take_prefixed(tensors, "optimizer.").items():
            parameter, _, moment = name.rpartition(".")
            moments["state"][parameter][moment] = value
        set_optimizer_state_dict(model, optimizer, moments, options=options)
        for name, tensor in carried.same.items():
            tensor.copy_(small[f"same.{name}"])
        for name, tensor in carried.parts.items():
            tensor.copy_(tensors[f"parts.{name}"] if workers.is_first else torch.zeros_like(tensor))
        generators = [
            small[key] for number in range(2) if (key := f"random.{number}.{workers.rank}") in small
        ]
        if generators:  # none for a rank that was not there
            set_random_state(generators)
        step = int(notes["step"])
        self.resumed_at = [*json.loads(notes["resumed_at"]), step]
        return step

    def _read(self, carried: LoopState) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
        """Notes and tensors of the file; none where it is of no use."""
        # A trial that starts while the storage does not answer would fail at once, or start anew.
        content = retry(lambda: self.results.read_checkpoint(self.trial_id))
        if content is None:
            return {}, {}
        try:
            notes, tensors = _read_metadata(content), load(content)
        except (SafetensorError, ValueError, KeyError):
            return {}, {}  # cut off by what ended the trial; it starts at its beginning
        wanted = {f"same.{name}" for name in carried.same}
        wanted |= {f"parts.{name}" for name in carried.parts}
        if json.loads(notes["versions"]) != self.versions or not wanted <= tensors.keys():
            return {}, {}
        return notes, tensors


def gather_trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """What a trial trained, by name, on the CPU; every worker takes part, the first one gets it."""
    weights: Any = get_model_state_dict(model, options=OPTIONS)
    return dict(weights)


def _read_metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    notes: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return notes


def _take_prefixed(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
