"""The launch order: base models stay loaded, cells finish one by one, and no slot idles long."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence

from xlt.trainables.spec.trial_spec import TrialSpec


def sort_for_launch(
    specs: Sequence[TrialSpec], base_size: Callable[[TrialSpec], float]
) -> list[TrialSpec]:
    """Sort trials into the order in which they start.

    Trials of one base model follow each other, so that a process mostly has the base model of its
    next trial loaded. The base model with the longest trial comes first, and within a base model
    the longest trials come first, so that short trials fill the gaps at the end (longest processing
    time first, Graham 1969, SIAM J. Appl. Math. 17). Seeds and draws of a cell stand together, so
    that tables fill cell by cell. Trials with different resources are mixed in proportion, so that
    each type of machine has trials from the start.

    Args:
        specs: Trials, in any order.
        base_size: Cost of a step with the base model of a trial, in any unit, e.g. bytes of
            weights.
    """
    by_request: dict[str, list[TrialSpec]] = defaultdict(list)
    for spec in specs:
        by_request[repr(spec.resources)].append(spec)
    queues = [_sort_by_base_model(members, base_size) for members in by_request.values()]
    dealt = [
        [((place + 0.5) / len(queue), number, spec) for place, spec in enumerate(queue)]
        for number, queue in enumerate(queues)
    ]
    return [spec for _, _, spec in heapq.merge(*dealt, key=lambda item: item[:2])]


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
