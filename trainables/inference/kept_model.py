"""Load the trained classifier of a finished trial from the weights in its folder."""

from __future__ import annotations

from typing import Any

import torch

from xlt.data.core.errors import InputError
from xlt.data.core.retry import retry
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.methods.registry import rebuild_classifier
from xlt.trainables.results.location import LostLocationError
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.loop import choose_base_dtype
from xlt.trainables.trial.model_files import load_kept_weights, read_kept_weights


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
        tensors = retry(lambda: read_kept_weights(results, spec.trial_id))
    except LostLocationError as error:
        raise InputError(f"its kept model cannot be read: {error}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(spec.resources.cpus)
    base = load_base(spec, device, choose_base_dtype(spec, device), num_labels)
    model = rebuild_classifier(base, spec)
    load_kept_weights(model, tensors, spec.method)
    return base, model.eval()
