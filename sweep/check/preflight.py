"""The input of all checks: the grid, the machines and the trials that are done, read once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlt.data.core.errors import InputError
from xlt.sweep.check.machines import read_nodes, uses_running_cluster
from xlt.sweep.driver.session import Session
from xlt.sweep.machines.nodes import Node
from xlt.sweep.planning.grid import Grid
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import UNRESOLVED, ModelFiles, list_folder_files, list_hub_files
from xlt.trainables.models.miniatures import find_miniature_folder
from xlt.trainables.models.verified_files import verify_files
from xlt.trainables.models.weights_folder import check_files
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialState
from xlt.trainables.spec.trial_spec import TrialSpec

if TYPE_CHECKING:
    from xlt.sweep.check.tokens import TextTokens
    from xlt.trainables.baselines.prompt_tokens import Prompts
    from xlt.trainables.estimates.dry_run import DryRun


@dataclass(frozen=True)
class TrialGroup:
    """Trials that cost the same per step: one base model with the same settings and resources.

    Attributes:
        label: Name of the base model, with the patterns if the base model has several groups.
        specs: All trials of the group.
        pending: Trials of the group that are not done.
    """

    label: str
    specs: tuple[TrialSpec, ...]
    pending: tuple[TrialSpec, ...]

    @property
    def first(self) -> TrialSpec:
        """A trial that stands for all."""
        return self.specs[0]

    @property
    def rows(self) -> int:
        """Rows of a micro-batch of one process; a baseline embeds one text at a time."""
        if self.first.is_baseline:
            return 1
        resources, batch_size = self.first.resources, self.first.training.batch_size
        return min(
            resources.micro_batch_size or batch_size, math.ceil(batch_size / resources.workers)
        )


@dataclass
class Preflight:
    """An experiment before its launch.

    Attributes:
        grid: The trials.
        location: The results location.
        nodes: The machines.
        states: Trial id -> state of its result folder, for each trial to check.
        backend: A name in ``xlt.sweep.backends.registry.BACKENDS``.
        asks_hub: Whether checks may ask the hub and import torch.
        starts_ray: Whether the run starts a Ray on this machine.
    """

    grid: Grid
    location: Results
    nodes: tuple[Node, ...]
    states: Mapping[str, TrialState]
    backend: str = "ray"
    asks_hub: bool = True
    starts_ray: bool = False
    _files: dict[str, ModelFiles | InputError | None] = field(default_factory=dict)
    _runs: dict[str, DryRun] = field(default_factory=dict)
    _prompts: dict[str, Prompts | None] = field(default_factory=dict)
    _texts: dict[tuple[str, int], TextTokens | None] = field(default_factory=dict)

    @cached_property
    def groups(self) -> tuple[TrialGroup, ...]:
        """Every group of trials, in the order of the grid."""
        members: dict[str, list[TrialSpec]] = defaultdict(list)
        for spec in (s for s in self.grid.specs if s.trial_id in self.states):
            parts = (
                spec.base_model,
                spec.method,
                spec.training,
                spec.lora,
                spec.peft,
                spec.resources,
            )
            prompted = spec.prompt and (spec.prompt, spec.pattern)  # a pattern has its own shots
            members[repr((*parts, prompted))].append(spec)
        names = [specs[0].base_model for specs in members.values()]
        groups = []
        for specs in members.values():
            name = specs[0].base_model
            if names.count(name) > 1:
                name += f" ({', '.join(dict.fromkeys(s.pattern.name for s in specs))})"
            pending = tuple(s for s in specs if self.states[s.trial_id].state != "done")
            groups.append(TrialGroup(name, tuple(specs), pending))
        return tuple(groups)

    @property
    def has_gpus(self) -> bool:
        """Whether any machine has GPUs."""
        return any(node.num_gpus for node in self.nodes)

    def device(self, spec: TrialSpec) -> Literal["cpu", "cuda"]:
        """Type of device that a trial would compute on."""
        return "cuda" if self.has_gpus and spec.resources.gpus else "cpu"

    def files(self, spec: TrialSpec) -> ModelFiles | None:
        """List the files of a trial's base model.

        Returns:
            None for a miniature that is not pre-trained yet, for a trial without a base model, and
            if only the hub knows them but may not be asked.

        Raises:
            InputError: The files cannot be reached or loaded.
        """
        key = spec.base_identity
        if key not in self._files:
            try:
                self._files[key] = self._read_files(spec)
            except InputError as error:
                self._files[key] = error
        files = self._files[key]
        if isinstance(files, InputError):
            raise files
        return files

    def _read_files(self, spec: TrialSpec) -> ModelFiles | None:
        if not spec.has_base_model:
            return None
        if spec.base_identity.startswith(MINIATURE):
            folder = find_miniature_folder(spec.base_identity)
            if not folder.is_dir():
                return None
            check_files(folder)
            verify_files(folder, spec.base_identity)
            return list_folder_files(folder, "cached")
        if Path(spec.base_path).is_dir():  # the grid refuses folders that cannot be loaded
            return list_folder_files(Path(spec.base_path), "folder")
        if not self.asks_hub:
            return None
        return list_hub_files(
            spec.base_path, None if spec.revision == UNRESOLVED else spec.revision
        )

    def _folder(self, spec: TrialSpec) -> Path:
        """Folder with the small files of a trial's base model."""
        files = self.files(spec)
        if files is None:
            raise InputError(f"the files of base model {spec.base_model!r} are not on this machine")
        return files.folder

    def dry_run(self, spec: TrialSpec, rows: int) -> DryRun:
        """Estimate what a micro-batch of ``rows`` rows costs in one process; imports torch.

        Trials that differ in their rows, seed or learning rate alone share one estimate.

        Raises:
            InputError: The files cannot be reached, or no classifier can be made of them.
        """
        from xlt.trainables.estimates.dry_run import dry_run
        from xlt.trainables.loading.config import load_config

        training, length = spec.training, max(self.lengths(spec))
        prompts = self.prompts(spec)
        num_before = len(prompts.beginning) if prompts else 0
        key = repr((
            spec.base_identity, spec.method, spec.lora, spec.peft, spec.resources,
            training.batch_size, training.max_length, training.precision, training.average,
            training.early_stopping, training.has_stages,
            self.device(spec), rows,
            spec.prompt and (spec.quantize_base, num_before, length),
        ))  # fmt: skip
        if key not in self._runs:
            self._runs[key] = dry_run(
                spec,
                load_config(self._folder(spec)),
                device=self.device(spec),
                rows=rows,
                length=length,
                num_labels=len(self.grid.dataset.classes),
                num_tokens=self._count_trained_tokens(spec),
                num_before=num_before,
            )
        return self._runs[key]

    def rows(self, group: TrialGroup) -> int:
        """Rows of a batch of one process; the largest batch of prompts."""
        prompts = self.prompts(group.first)
        if prompts is None:
            return group.rows
        from xlt.trainables.baselines.prompt_scores import list_batches

        return max(map(len, list_batches(prompts)))

    def prompts(self, spec: TrialSpec) -> Prompts | None:
        """Make the prompts of a trial; seeds change only the order of the rows in them.

        Returns:
            None for other methods, and if the tokenizer is not on this machine.

        Raises:
            InputError: The prompts cannot be made.
        """
        if not spec.prompt:
            return None
        from xlt.sweep.check.tokens import make_prompts

        key = spec.model_copy(update={"seed": 0}).model_dump_json()
        if key not in self._prompts:
            self._prompts[key] = make_prompts(self.grid, self._folder(spec), spec)
        return self._prompts[key]

    def lengths(self, spec: TrialSpec) -> list[int]:
        """Count the tokens of each row that the grid draws, after truncation.

        Returns:
            One number a row; ``max_length`` alone if the tokenizer is not on this machine. For
            prompts, the tokens after their common beginning.
        """
        if prompts := self.prompts(spec):
            return [len(rest) for rest in prompts.rests]
        texts = self._read_texts(spec)
        return texts.lengths if texts else [spec.training.max_length]

    def _count_trained_tokens(self, spec: TrialSpec) -> int | None:
        """Count the tokens whose embeddings are trained, if not all are."""
        from xlt.trainables.methods.used_rows import can_train_used_rows

        texts, resources = self._read_texts(spec), spec.resources
        allowed = can_train_used_rows(self.device(spec), resources.workers, resources.is_sharded)
        return texts.num_training_tokens if texts and allowed else None

    def _read_texts(self, spec: TrialSpec) -> TextTokens | None:
        from xlt.sweep.check.tokens import count_tokens

        max_length = spec.training.max_length
        key = spec.base_identity, max_length
        if key not in self._texts:
            self._texts[key] = count_tokens(self.grid, self._folder(spec), max_length)
        return self._texts[key]


def make_preflight(
    grid: Grid, session: Session, states: Mapping[str, TrialState], *, asks_hub: bool = True
) -> Preflight:
    """Read the machines and make the input of all checks; arguments as :class:`Preflight`.

    Raises:
        InputError: There is no cluster at the address, or its nodes do not answer.
    """
    nodes = read_nodes(session.trial_address)
    backend = session.backend or "ray"
    starts_ray = backend == "ray" and not uses_running_cluster(session.address)
    return Preflight(grid, session.location, nodes, states, backend, asks_hub, starts_ray)
