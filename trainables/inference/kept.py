"""Load the trained classifier of a finished trial from the weights in its folder."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.methods.adapted import is_adapted
from xlt.trainables.methods.registry import build_classifier
from xlt.trainables.methods.taken_weights import as_kept
from xlt.trainables.results.find_trial import list_kept_weights
from xlt.trainables.results.location import LostLocationError, inside_root
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import choose_base_dtype


def load_kept_model(spec: TrialSpec, results: Results, num_labels: int) -> tuple[Base, Any]:
    """Build a trial's classifier as for training, and load its trained weights.

    Args:
        spec: Spec of a finished trial.
        results: Location of the trial's folder.
        num_labels: Number of classes of the head.

    Returns:
        The base model and the classifier, ready to predict.

    Raises:
        InputError: The trial is not done, it kept no weights, they are damaged, or the location was
            lost and did not return.
    """
    try:
        tensors = retry(lambda: _read_weights(results, spec))
    except LostLocationError as error:
        raise InputError(f"its kept model cannot be read: {error}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(spec.resources.cpus)
    base = load_base(spec, device, choose_base_dtype(spec, device), num_labels)
    model = build_classifier(base, as_kept(spec))
    if is_adapted(model):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, tensors)
    else:
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        missing, others = model.load_state_dict(tensors, strict=False)
        if others or not frozen.issuperset(missing):
            raise InputError(
                f"its kept weights are not those of method {spec.method}: they have no "
                f"{sorted(set(missing) - frozen)[:3]}, and {sorted(others)[:3]} besides"
            )
    return base, model.eval()


@inside_root
def _read_weights(results: Results, spec: TrialSpec) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, sha256 in list_kept_weights(results.state(spec.trial_id)).items():
        tensors |= load(results.read_weights(spec.trial_id, name, sha256))
    return tensors
