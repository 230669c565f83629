"""fit_pack: train members, LoRA trials of one base model, with shared forward passes.

Only the gradients are computed together. On a CPU a member's losses equal those of the trial alone
up to rounding, dropout included, because every member has its own random stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from xlt.trainables.methods.lora_pack import LoraPack, Segment
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import Classification, FitResult
from xlt.trainables.training.loop import Steps, autocast
from xlt.trainables.training.micro_batches import get_random_state, set_random_state
from xlt.trainables.trial.run_trial import PreparedTrial

PackReport = Callable[[TrialSpec, int, int, float], None]
"""Called with (member, step, num_steps, loss) every few steps of each member."""


class RandomStream:
    """Random stream of a member, equal to the global generators of a process that runs it alone."""

    def __init__(self) -> None:
        self.states = get_random_state()

    @contextmanager
    def as_global(self) -> Iterator[None]:
        """Make this stream the global generators, inside the context."""
        others = get_random_state()
        set_random_state(self.states)
        try:
            yield
        finally:
            self.states = get_random_state()
            set_random_state(others)

    def make_generator(self, device: torch.device) -> torch.Generator:
        """Make a generator that draws from this stream on a device."""
        generator = torch.Generator(device)
        generator.set_state(self.states[1 if device.type == "cuda" else 0])
        return generator

    def advance(self, generator: torch.Generator) -> None:
        """Continue this stream where a generator of :meth:`make_generator` stopped."""
        self.states[1 if generator.device.type == "cuda" else 0] = generator.get_state()


class Member:
    """A trial of a pack during training."""

    def __init__(
        self, trial: PreparedTrial, report: PackReport, checkpoints: Checkpoints | None
    ) -> None:
        self.trial, self.checkpoints = trial, checkpoints
        self.random = RandomStream()
        self.seconds = 0.0
        self.task = Classification(
            trial.model,
            trial.train_ids,
            trial.labels,
            trial.spec,
            trial.row_weights,
            trial.dev,
        )
        self.micro_batches = self.task.make_micro_batches()
        self.steps: Steps = self.task.start(
            lambda step, num_steps, loss: report(trial.spec, step, num_steps, loss), checkpoints
        )
        self.batch: list[int] = []
        self.loss: torch.Tensor | None = None
        self.outcome: FitResult | Exception | None = None

    @property
    def width(self) -> int:
        """Number of tokens of the longest row of the batch."""
        return max(len(self.task.token_ids[row]) for row in self.batch)

    def compute_gradients(self) -> None:
        """Add the gradients of the batch in passes of this member alone."""
        with self.random.as_global():
            self.loss = self.micro_batches(self.batch)

    def step(self) -> None:
        """Take a step with the current gradients, and get the batch of the next step."""
        start = time.perf_counter()
        with self.random.as_global():
            try:
                self.batch = self.steps.send(self.loss)
            except StopIteration as end:
                self.outcome = self.task.make_result(end.value, self.micro_batches)
            except Exception as error:
                self.outcome = error
        self.seconds += time.perf_counter() - start


class _SharedPasses:
    """Compute the gradients of members in as few passes as memory allows.

    If a CUDA device runs out of memory, half as many members share a pass from then on. A member
    that is alone in a pass has its own micro-batches.

    Args:
        members: All members of the pack.

    Attributes:
        size: Maximum number of members per pass.
        num_halved: Number of times that memory ran out.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._number = {id(member): number for number, member in enumerate(members)}
        self._pack = LoraPack([member.trial.model for member in members])
        self.size = len(members)
        self.num_halved = 0

    def __call__(self, members: Sequence[Member]) -> None:
        """Add the gradients of each member's batch, and set the member's loss or outcome."""
        # If several passes are needed, members of similar width waste the least on padding.
        members = sorted(members, key=lambda member: member.width)
        while True:
            states = [list(member.random.states) for member in members]
            try:
                for start in range(0, len(members), self.size):
                    self._run_pass(members[start : start + self.size])
                return
            except torch.OutOfMemoryError:
                self.size = math.ceil(min(self.size, len(members)) / 2)
                self.num_halved += 1
            # Do this outside of the handler: the error's frames hold the tensors of the failed
            # pass.
            for member, state in zip(members, states, strict=True):
                member.random.states = state
                for parameter in member.task.model.parameters():
                    parameter.grad = None
            torch.cuda.empty_cache()

    def _run_pass(self, members: Sequence[Member]) -> None:
        start = time.perf_counter()
        try:
            if len(members) == 1:
                members[0].compute_gradients()
            else:
                self._compute_shared_gradients(members)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            for member in members:
                member.outcome = error
        for member in members:
            member.seconds += (time.perf_counter() - start) / len(members)

    def _compute_shared_gradients(self, members: Sequence[Member]) -> None:
        spec, device = members[0].trial.spec, members[0].task.device
        segments = [
            Segment(
                self._number[id(member)],
                [member.task.token_ids[row] for row in member.batch],
                member.random.make_generator(device),
            )
            for member in members
        ]
        with autocast(spec, device):
            logits = self._pack.compute_logits(segments)
        losses = [
            member.task.compute_loss(member.batch, part, num_places)
            for member, part, num_places in zip(members, logits, self._pack.num_places, strict=True)
        ]
        torch.autograd.backward(losses)
        for member, segment, loss in zip(members, segments, losses, strict=True):
            member.random.advance(segment.generator)
            member.loss = loss.detach()


def fit_pack(members: Sequence[Member]) -> Iterator[Member]:
    """Train members side by side, and yield each member when it ends."""
    if not members:
        return
    passes = _SharedPasses(members)
    running = list(members)
    while running:
        for member in running:
            member.step()
        if active := [member for member in running if member.outcome is None]:
            passes(active)
        for member in running:
            if isinstance(member.outcome, FitResult):
                member.outcome = replace(
                    member.outcome,
                    num_packed=len(members),
                    num_halved=member.outcome.num_halved + passes.num_halved,
                )
        yield from (member for member in running if member.outcome is not None)
        running = [member for member in running if member.outcome is None]
