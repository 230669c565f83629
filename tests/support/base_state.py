"""Everything of a base model that a trial must leave as it was."""

from __future__ import annotations

import hashlib
from typing import Any

from xlt.trainables.loading import base as loading


def state_of(base: loading.Base) -> dict[str, Any]:
    """Everything of a base that a trial could spoil, the head's values aside."""
    model = base.model
    return {
        "modules": [
            (name, type(module), module.training) for name, module in model.named_modules()
        ],
        "flags": [(name, p.requires_grad, p.grad is None) for name, p in model.named_parameters()],
        "config": model.config.to_json_string(),
        "attributes": sorted(vars(model)),
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "weights": {
            name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
            for name, tensor in model.state_dict().items()
            if name.rpartition(".")[0] not in base.head_modules
        },
    }
