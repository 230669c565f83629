"""Copy a model's modules around its tensors, so that a trial changes the copy alone."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection
from typing import Any


def make_shell(model: Any, own: Collection[str] = ()) -> Any:
    """Copy the modules of a model, but not its tensors; 7B weights are not copied.

    Args:
        model: Base model as loaded.
        own: Names of the parameters that are copied, because the trial changes them.
    """
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    return copy.deepcopy(model, {id(tensor): tensor for name, tensor in tensors if name not in own})
