"""What a trial's training looked like, in a few numbers: whether it trained is judged from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.trainables.metrics.registry import METRICS


def measure_convergence(
    history: pa.Table, labels: NDArray[Any], y_score: NDArray[np.float64]
) -> dict[str, float]:
    """Numbers of the last epoch beside what an untrained model would show.

    Args:
        history: num_steps x (step, epoch, loss, grad_norm ...), as :func:`fit`.
        labels: Class of each training row.
        y_score: Probabilities that the rows had when they were last trained on (num_rows, or
            num_rows x num_classes).

    Returns:
        ``first_loss`` and ``final_loss``: mean over the first and the last epoch, nats;
        ``label_entropy``: the loss of a model that knows the labels' frequencies only, nats;
        ``train_auroc``: of ``y_score`` (macro one-vs-rest of more than two classes);
        ``auroc_noise``: standard deviation of an AUROC of so many rows whose scores say nothing,
        sqrt((n + 1) / (12 n1 n0)) (Mann & Whitney 1947), for the rarest class against the rest;
        ``score_std``: of ``y_score`` over rows, the largest of all classes;
        ``first_grad_norm`` and ``final_grad_norm``: means over the epoch.
    """
    epochs = pc.ceil(history["epoch"])
    first, last = (
        history.filter(pc.equal(epochs, bound(epochs).as_py())) for bound in (pc.min, pc.max)
    )
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    shares, rarest, num_rows = counts / len(labels), int(counts.min()), len(labels)
    entropy = -sum(share * math.log(share) for share in shares)
    auroc, noise = math.nan, math.nan
    if len(counts) > 1:
        auroc = METRICS["auroc" if y_score.ndim == 1 else "auroc_ovr"].compute(labels, y_score)
        noise = math.sqrt((num_rows + 1) / (12 * rarest * (num_rows - rarest)))
    return {
        "first_loss": pc.mean(first["loss"]).as_py(),
        "final_loss": pc.mean(last["loss"]).as_py(),
        "label_entropy": float(entropy),
        "train_auroc": auroc,
        "auroc_noise": noise,
        "score_std": float(np.max(np.std(y_score, axis=0))),
        "first_grad_norm": pc.mean(first["grad_norm"]).as_py(),
        "final_grad_norm": pc.mean(last["grad_norm"]).as_py(),
    }
