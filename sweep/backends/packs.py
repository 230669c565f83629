"""Packs: trials that train side by side in one process. Imports neither torch nor Ray."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from xlt.trainables.spec.packable import PackKey, compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec

Packing = Literal["off", "auto"] | int
"""Value of ``packing`` in an experiment; a number is the highest number of trials in a pack."""
AUTO_SIZE = 6
"""Assumed number of members on a GPU with ``auto``. If memory is too small, fewer of them share a
pass. On a CPU packs gain less than 10 % (docs/benchmarks.md)."""


def choose_pack_size(packing: Packing, *, has_gpus: bool) -> int:
    """Choose the highest number of trials in a pack; 1 if trials train alone.

    Args:
        packing: The setting of the experiment.
        has_gpus: Whether trials run on GPUs.
    """
    if packing == "auto":
        return AUTO_SIZE if has_gpus else 1
    return 1 if packing == "off" else packing


def make_packs(specs: Sequence[TrialSpec], size: int, num_slots: int) -> list[list[TrialSpec]]:
    """Group trials that can share forward passes.

    Args:
        specs: Trials, in the order in which they would run alone.
        size: Highest number of trials in a pack.
        num_slots: Number of packs that run at the same time; packs shrink until each slot has one.

    Returns:
        Packs in the order of their first trials; each trial is in one pack. The trials of a pack
        have similar numbers of steps.
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
