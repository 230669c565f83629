"""Which trials are trained side by side in one process; nothing of torch or Ray is needed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from xlt.trainables.spec.packable import PackKey, compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec

Packing = Literal["off", "auto"] | int
"""As an experiment says it; a number: so many trials at most."""
AUTO_SIZE = 6
"""Members on a GPU with ``auto``, an assumption. Where its memory is too small,
fewer of them share a pass. On a CPU packs gain less than a tenth (docs/benchmarks.md)."""


def pack_size(packing: Packing, *, has_gpus: bool) -> int:
    """Members of a pack at most; 1: trials train alone.

    Args:
        packing: As the experiment says.
        has_gpus: Whether trials would have any.
    """
    if packing == "auto":
        return AUTO_SIZE if has_gpus else 1
    return 1 if packing == "off" else packing


def make_packs(specs: Sequence[TrialSpec], size: int, num_slots: int) -> list[list[TrialSpec]]:
    """Group trials that can share forward passes.

    Args:
        specs: In the order in which they would run alone.
        size: Members of a pack at most.
        num_slots: Packs that run at the same time; none of them is left without.

    Returns:
        Every trial in one pack, packs in the order of their first members; the members of a pack
        take about as many steps as each other.
    """
    size = max(1, min(size, len(specs) // num_slots))
    groups: dict[PackKey, list[int]] = defaultdict(list)
    for number, spec in enumerate(specs):
        key = compute_pack_key(spec) if size > 1 else None
        groups[("alone", number) if key is None else key].append(number)
    packs: list[list[int]] = []
    for group in groups.values():
        by_length = sorted(group, key=lambda number: -specs[number].num_steps)
        num_packs = math.ceil(len(group) / size)
        edges = [len(group) * edge // num_packs for edge in range(num_packs + 1)]
        packs += [by_length[first:last] for first, last in pairwise(edges)]
    return [[specs[number] for number in pack] for pack in sorted(packs, key=min)]
