"""In which order trials start: bases stay loaded, rows of tables fill up, the end is short."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence

from xlt.trainables.spec.trial_spec import TrialSpec


def launch_order(
    specs: Sequence[TrialSpec], base_size: Callable[[TrialSpec], float]
) -> list[TrialSpec]:
    """Trials in the order in which they are to be started.

    Trials of a base model follow each other, so that a process mostly has the next one's base
    loaded. The base with the longest trial comes first and within a base the longest trials do
    (longest processing time first, Graham 1969, SIAM J. Appl. Math. 17): what is short fills the
    gaps at the end. Seeds and draws of a cell stand together, so that cell after cell of a table
    is done. Trials that reserve different things are dealt out in proportion: what one kind of
    machine cannot hold must not keep it from what it can.

    Args:
        specs: In any order.
        base_size: What a step costs with a trial's base model, in any unit, e.g. bytes of weights.
    """
    by_request: dict[str, list[TrialSpec]] = defaultdict(list)
    for spec in specs:
        by_request[repr(spec.resources)].append(spec)
    queues = [_warm_order(some, base_size) for some in by_request.values()]
    dealt = [
        [((place + 0.5) / len(queue), number, spec) for place, spec in enumerate(queue)]
        for number, queue in enumerate(queues)
    ]
    return [spec for _, _, spec in heapq.merge(*dealt, key=lambda item: item[:2])]


def _warm_order(specs: list[TrialSpec], base_size: Callable[[TrialSpec], float]) -> list[TrialSpec]:
    """Base model by base model, cell by cell."""
    cost = {spec.trial_id: spec.num_steps * base_size(spec) for spec in specs}
    longest: dict[str, float] = defaultdict(float)
    for spec in specs:
        longest[spec.base_identity] = max(longest[spec.base_identity], cost[spec.trial_id])

    def key(spec: TrialSpec) -> tuple[object, ...]:
        base = spec.base_identity
        cell = -cost[spec.trial_id], spec.base_model, spec.pattern.name
        return -longest[base], base, *cell, spec.draw_index, spec.seed

    return sorted(specs, key=key)
