"""run_pack: train several LoRA trials (members) side by side with shared forward passes.

Each member is built, stepped, scored and kept as in :func:`run_trial`. Only the gradients are
computed together. On a CPU a member's losses and scores equal those of the trial alone up to
rounding, dropout included, because every member has its own random stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.base import load_base
from xlt.trainables.methods.lora_pack import LoraPack, Segment, adapts_head, has_other_dropout
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import Classification, FitResult
from xlt.trainables.training.loop import Steps, autocast, choose_base_dtype
from xlt.trainables.training.micro_batches import get_random_state, set_random_state
from xlt.trainables.trial.run_trial import (
    KeepModels,
    PreparedTrial,
    finish_trial,
    prepare_trial,
    run_trial,
)

PackReport = Callable[[TrialSpec, int, int, float], None]
"""Called with (member, step, num_steps, loss) every few steps of each member."""
Outcome = tuple[TrialSpec, TrialResult | Exception]
"""A member, with its result or its error."""


def run_pack(
    specs: Sequence[TrialSpec],
    dataset: Dataset,
    *,
    report: PackReport = lambda spec, step, num_steps, loss: None,
    keep_models: KeepModels = "none",
    explain: Explain | None = None,
    checkpoints: Mapping[str, Checkpoints] | None = None,
) -> Iterator[Outcome]:
    """Train and test several trials that share a base model.

    Trials that cannot share passes run one after another. Such trials have different
    :func:`compute_pack_key`, a base model with dropout of its own, or adapters in the head.

    Args:
        specs: Specs of the members.
        dataset: Data set whose fingerprint is the specs' ``data_fingerprint``.
        report: Function that receives the progress of each member.
        keep_models: Weights in the results, as in :func:`run_trial`.
        explain: Settings for explaining test rows, as in :func:`run_trial`.
        checkpoints: Checkpoints by trial id.

    Yields:
        Each member when it ends, with its result or its error. An error ends only its own member.
    """
    checkpoints = checkpoints or {}
    if not _can_share(specs, dataset):
        for spec in specs:
            yield spec, _run_alone(spec, dataset, report, keep_models, explain, checkpoints)
        return
    members: list[Member] = []
    for spec in specs:
        try:
            members.append(
                Member(prepare_trial(spec, dataset), report, checkpoints.get(spec.trial_id))
            )
        except Exception as error:
            yield spec, error
    for member in fit_pack(members):
        yield member.trial.spec, _finish_member(member, keep_models, explain)


def _run_alone(
    spec: TrialSpec,
    dataset: Dataset,
    report: PackReport,
    keep_models: KeepModels,
    explain: Explain | None,
    checkpoints: Mapping[str, Checkpoints],
) -> TrialResult | Exception:
    try:
        return run_trial(
            spec,
            dataset,
            report=lambda step, num_steps, loss: report(spec, step, num_steps, loss),
            keep_models=keep_models,
            explain=explain,
            checkpoints=checkpoints.get(spec.trial_id),
        )
    except Exception as error:
        return error


def _can_share(specs: Sequence[TrialSpec], dataset: Dataset) -> bool:
    keys = {compute_pack_key(spec) for spec in specs}
    if len(specs) < 2 or len(keys) > 1 or None in keys:
        return False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = choose_base_dtype(specs[0], device)
    try:
        base = load_base(specs[0], device, dtype, len(dataset.classes))
    except InputError:
        return False  # each member raises it by itself
    pads_right = getattr(base.model.config, "padding_side", "right") == "right"
    has_own_head = not adapts_head(base.model, base.head_modules)
    return pads_right and has_own_head and not has_other_dropout(base.model)


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
            trial.model, trial.train_ids, trial.labels, trial.spec, trial.class_weights
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


def _finish_member(
    member: Member, keep_models: KeepModels, explain: Explain | None
) -> TrialResult | Exception:
    """Return the result of a member, or the error that ended it."""
    if not isinstance(member.outcome, FitResult):
        return member.outcome or RuntimeError("the trial was not trained to its end")
    member.trial.clock.seconds["fit"] = round(member.seconds, 4)
    member.trial.clock.resume()
    try:
        return finish_trial(member.trial, member.outcome, keep_models, explain, member.checkpoints)
    except Exception as error:
        return error
