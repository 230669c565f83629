"""The launch order: base models stay loaded, cells finish one by one, and no slot idles long."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from xlt.trainables.spec.methods import KeepModels, keeps_model
from xlt.trainables.spec.trial_spec import TrialSpec

WaitsFor: TypeAlias = Mapping[str, frozenset[str]]
"""Trial id -> ids of the trials whose results it uses if they are there. It starts after them, and
also starts if they fail or are not among the trials that run."""
NO_WAITS: WaitsFor = MappingProxyType({})


def sort_for_launch(
    specs: Sequence[TrialSpec],
    base_size: Callable[[TrialSpec], float],
    waits_for: WaitsFor = NO_WAITS,
) -> list[TrialSpec]:
    """Sort trials into the order in which they start.

    Trials of one base model follow each other, so that a process mostly has the base model of its
    next trial loaded. The base model with the longest trial comes first, and within a base model
    the longest trials come first, so that short trials fill the gaps at the end (longest processing
    time first, Graham 1969, SIAM J. Appl. Math. 17). Seeds and draws of a cell stand together, so
    that tables fill cell by cell. Trials with different resources are mixed in proportion, so that
    each type of machine has trials from the start. A trial comes after those that it waits for.

    Args:
        specs: Trials, in any order.
        base_size: Cost of a step with the base model of a trial, in any unit, e.g. bytes of
            weights.
        waits_for: Trials that wait for others; no trial waits for itself, through others either.
    """
    by_request: dict[str, list[TrialSpec]] = defaultdict(list)
    for spec in specs:
        by_request[repr(spec.resources)].append(spec)
    queues = [_sort_by_base_model(members, base_size) for members in by_request.values()]
    dealt = [
        [((place + 0.5) / len(queue), number, spec) for place, spec in enumerate(queue)]
        for number, queue in enumerate(queues)
    ]
    order = [spec for _, _, spec in heapq.merge(*dealt, key=lambda item: item[:2])]
    return _put_after(order, waits_for)


def _put_after(order: Sequence[TrialSpec], waits_for: WaitsFor) -> list[TrialSpec]:
    """Put trials after those that they wait for, and change the order as little as possible."""
    left = {spec.trial_id: spec for spec in order}
    sorted_specs: list[TrialSpec] = []

    def take(trial_id: str) -> None:
        if spec := left.pop(trial_id, None):
            for earlier_id in sorted(waits_for.get(trial_id, ())):
                take(earlier_id)
            sorted_specs.append(spec)

    for spec in order:
        take(spec.trial_id)
    return sorted_specs


def _sort_by_base_model(
    specs: list[TrialSpec], base_size: Callable[[TrialSpec], float]
) -> list[TrialSpec]:
    """Sort trials by base model, then by cell."""
    cost = {spec.trial_id: spec.num_steps * base_size(spec) for spec in specs}
    longest: dict[str, float] = defaultdict(float)
    for spec in specs:
        longest[spec.base_identity] = max(longest[spec.base_identity], cost[spec.trial_id])

    def key(spec: TrialSpec) -> tuple[object, ...]:
        base = spec.base_identity
        cell = -cost[spec.trial_id], spec.base_model, spec.pattern.name
        return -longest[base], base, *cell, spec.draw_index, spec.seed

    return sorted(specs, key=key)


def find_first_stages(specs: Sequence[TrialSpec]) -> dict[str, str]:
    """Find the trials of a grid that train as the first stage of others.

    Names of base models and patterns may differ, so that a base model can be in the grid once for
    each regime.

    Args:
        specs: All trials of the grid.

    Returns:
        Trial id -> id of the trial whose training its first stage repeats.
    """
    firsts = {spec.trial_id: first for spec in specs if (first := spec.first_stage)}
    if not firsts:
        return {}
    joint = {s.training_identity(): s.trial_id for s in reversed(specs) if len(s.stages) == 1}
    identities = {trial_id: first.training_identity() for trial_id, first in firsts.items()}
    return {i: joint[identity] for i, identity in identities.items() if identity in joint}


def find_members(specs: Sequence[TrialSpec]) -> dict[str, tuple[str, ...]]:
    """Find the trials of a grid that means average; names of base models may differ.

    Returns:
        Id of a mean -> ids of its trials; fewer than it has if the grid lacks some.
    """
    means = [spec for spec in specs if spec.mean_of]
    if not means:
        return {}
    trained = {s.training_identity(): s.trial_id for s in reversed(specs) if not s.mean_of}
    return {
        mean.trial_id: tuple(
            trained[identity]
            for member in mean.members
            if (identity := member.training_identity()) in trained
        )
        for mean in means
    }


def find_waits(
    specs: Sequence[TrialSpec],
    first_stages: Mapping[str, str],
    keep_models: KeepModels,
    members: Mapping[str, Sequence[str]] = {},
) -> WaitsFor:
    """Find the trials that wait: for the trial of their first stage, means for all they average.

    ``best`` keeps a model only as long as no other trial of its cell is better, so nothing waits
    for it.

    Args:
        specs: The trials that will run.
        first_stages: From :func:`find_first_stages`.
        keep_models: The weights that trials keep.
        members: From :func:`find_members`.
    """
    means = {mean_id: frozenset(members[mean_id]) for mean_id in members}
    if keep_models == "best":
        return means
    kept = {spec.trial_id for spec in specs if keeps_model(keep_models, spec.method)}
    return means | {
        spec.trial_id: frozenset({first_id})
        for spec in specs
        if (first_id := first_stages.get(spec.trial_id)) in kept and first_id
    }


def count_saved_steps(specs: Collection[TrialSpec], first_stages: Mapping[str, str]) -> int:
    """Count the steps of the first stages that other trials give."""
    return sum(spec.stages[0].num_steps for spec in specs if spec.trial_id in first_stages)
