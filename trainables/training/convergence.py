"""Describe a trial's training in a few numbers, which show whether it converged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.trainables.metrics.registry import METRICS


def measure_convergence(
    history: pa.Table,
    labels: NDArray[Any],
    y_score: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Measure losses, scores and gradients, next to the values of a model that learnt nothing.

    Args:
        history: num_steps x (step, epoch, loss, grad_norm ...), as returned by :func:`fit`.
        labels: Class of each training row.
        y_score: Probabilities of the rows when they were last trained on (num_rows, or num_rows x
            num_classes).
        weights: How much each row counts in the losses of an epoch; None: all alike.

    Returns:
        ``first_loss`` and ``final_loss``: mean losses of the first and the last epoch, nats;
        ``label_entropy``: loss of a model that knows only the frequencies of the labels, nats, with
        the weights of the other losses;
        ``train_auroc``: AUROC of ``y_score`` (macro one-vs-rest for more than two classes);
        ``auroc_noise``: standard deviation of the AUROC of random scores on as many rows,
        sqrt((n + 1) / (12 n1 n0)) (Mann & Whitney 1947), for the rarest class against the rest;
        ``score_std``: standard deviation of ``y_score`` over rows, the largest of all classes;
        ``first_grad_norm`` and ``final_grad_norm``: mean gradient norms of the same epochs.
    """
    epochs = pc.ceil(history["epoch"])
    first, last = (
        history.filter(pc.equal(epochs, bound(epochs).as_py())) for bound in (pc.min, pc.max)
    )
    counts, weighted = np.bincount(labels), np.bincount(labels, weights)
    shares = weighted / weighted.sum()
    shares, counts = shares[counts > 0], counts[counts > 0]
    rarest, num_rows = int(counts.min()), len(labels)
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
