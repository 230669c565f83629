"""Dev scores of all tried configs, and the choice of one config for each cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xlt.analysis.trials.training_state import training_state
from xlt.data.core.errors import InputError
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchedConfig, SearchPlan
from xlt.trainables.results.trial_result import TrialState
from xlt.trainables.spec.trial_spec import TrialSpec

TIE = 1e-9
"""Scores that differ by less count as equal: means of AUROCs of few rows often differ only by
rounding."""
LOSS_WEIGHT = 1e-7
"""Weight of the dev loss in a rank, so small that the loss only decides between equal scores.
Different AUROCs of b x b rows differ by at least 1 / b^2, and means over n replicates by
1 / (n b^2): about 1e-5 for 128 x 128 rows and 5 replicates."""


@dataclass(frozen=True)
class TriedConfig:
    """A config of a cell with its scores.

    Attributes:
        config: The config.
        scores: num_replicates dev scores; nan for a replicate without one.
        losses: num_replicates dev losses (cross-entropy, nats); nan for a replicate without one.
        failures: Errors of replicates that failed; a failed config is never chosen.
        epochs: Number of epochs trained, over all its trials.
        kinds: num_replicates languages of dev rows: source or target.
        num_stuck: Number of replicates that did not train, see
            :mod:`xlt.analysis.trials.training_state`.
    """

    config: SearchedConfig
    scores: NDArray[np.float64]
    losses: NDArray[np.float64]
    failures: tuple[str, ...] = ()
    epochs: int = 0
    kinds: tuple[str, ...] = ()
    num_stuck: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every replicate has a score."""
        return bool(np.isfinite(self.scores).all())

    @property
    def trains(self) -> bool:
        """Whether most of its replicates trained."""
        return 2 * self.num_stuck < len(self.scores)

    @property
    def score(self) -> float:
        """Mean dev score; if dev rows are of source and target language, the mean of both means."""
        return average_by_kind(self.scores, self.kinds)

    @property
    def loss(self) -> float:
        """Mean dev loss, averaged like :attr:`score`."""
        return average_by_kind(self.losses, self.kinds)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over replicates; nan for a single replicate.

        It is too small because folds share training rows (Bengio & Grandvalet 2004, JMLR 5).
        """
        known = self.scores[np.isfinite(self.scores)]
        return float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan


def average_by_kind(values: NDArray[np.float64], kinds: Sequence[str]) -> float:
    """Mean over kinds of dev rows of the mean of their finite values; nan without such values."""
    means = []
    for kind in dict.fromkeys(kinds):
        known = [v for v, k in zip(values, kinds, strict=True) if k == kind and math.isfinite(v)]
        if known:
            means.append(sum(known) / len(known))
    return sum(means) / len(means) if means else math.nan


def rank(
    scores: NDArray[np.float64], losses: NDArray[np.float64], kinds: Sequence[str], num_stuck: int
) -> float:
    """Rank configs by one number, in the order of :func:`choose`.

    Only configs that were tried on the same replicates so far are comparable.

    Args:
        scores: num_replicates dev scores; nan for a replicate that was not tried yet.
        losses: num_replicates dev losses; nan for a replicate that was not tried yet.
        kinds: num_replicates languages of dev rows.
        num_stuck: Number of replicates that did not train.

    Returns:
        The mean score minus :data:`LOSS_WEIGHT` times the mean loss, and minus 1 if at least half
        of the replicates did not train. Larger is better.
    """
    value = average_by_kind(scores, kinds) - LOSS_WEIGHT * average_by_kind(losses, kinds)
    return value if 2 * num_stuck < int(np.isfinite(scores).sum()) else value - 1


@dataclass(frozen=True)
class Choice:
    """The config chosen for a cell.

    Attributes:
        cell: The cell.
        tried: All configs that were tried, in the order of learning rates.
        best: The chosen config; None if no config was completed without a failure.
        edge: ``low`` or ``high`` if the chosen learning rate is that end of the range; else empty.
        why: Phrase that explains the choice.
    """

    cell: SearchedCell
    tried: tuple[TriedConfig, ...]
    best: TriedConfig | None
    edge: str
    why: str


def choose(
    cell: SearchedCell, tried: Sequence[TriedConfig], *, one_standard_error: bool = False
) -> Choice:
    """Choose the config with the highest mean dev score.

    Only configs with all replicates and no failure are compared, because the mean of fewer
    replicates is over other rows. Configs with which most trials did not train come last, because a
    good score of such trials on a few dev rows is chance. Among equal scores the lower dev loss
    wins, then the smaller rate.

    Args:
        cell: The cell.
        tried: Configs of the cell.
        one_standard_error: Whether to take the smallest rate within one standard error of the best
            (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).
    """
    ordered = tuple(sorted(tried, key=lambda t: t.config.learning_rate))
    complete = [t for t in ordered if t.is_complete and not t.failures]
    if not complete:
        return Choice(cell, ordered, None, "", "no config finished")
    complete = [t for t in complete if t.trains] or complete
    top = max(t.score for t in complete)
    equal = [t for t in complete if t.score >= top - TIE]
    best = min(equal, key=lambda t: (t.loss, t.config.learning_rate))
    why = "highest dev score"
    if len(equal) > 1:
        why = f"lowest dev loss of {len(equal)} with the same dev score"
    if one_standard_error and math.isfinite(best.standard_error):
        near = [t for t in complete if t.score >= best.score - best.standard_error - TIE]
        smallest = min(near, key=lambda t: (t.config.learning_rate, t.loss))
        if smallest is not best:
            best, why = smallest, "smallest rate within one standard error of the best"
    rates = [t.config.learning_rate for t in ordered]
    rate, edge = best.config.learning_rate, ""
    if len(set(rates)) > 1:
        edge = "low" if rate == min(rates) else "high" if rate == max(rates) else ""
    return Choice(cell, ordered, best, edge, why)


def read_search(results: Results, plan: SearchPlan) -> list[Choice]:
    """Read the results of a search so far, and choose a config for each cell.

    Args:
        results: Results location of the trials.
        plan: The search.

    Raises:
        InputError: The location cannot be read.
    """
    one_standard_error = bool(plan.settings.get("one_standard_error"))
    configs = [config for cell in plan.cells for config in cell.configs]
    ids = [i for config in configs for i in config.trial_ids[: config.num_tried]]
    states = results.states(dict.fromkeys(ids))
    return [
        choose(
            cell,
            [
                _tried(results, config, cell.replicates, states, plan.metric)
                for config in cell.configs
            ],
            one_standard_error=one_standard_error,
        )
        for cell in plan.cells
    ]


def _tried(
    results: Results, config: SearchedConfig, replicates: Sequence[Replicate],
    states: Mapping[str, TrialState], metric: str,
) -> TriedConfig:  # fmt: skip
    scores, losses = np.full((2, len(replicates)), np.nan)
    failures, epochs, num_stuck = [], 0, 0
    for number, trial_id in enumerate(config.trial_ids[: config.num_tried]):
        state = states[trial_id]
        if state.state == "failed":
            failures.append(state.detail)
        if state.state == "done" and state.record is not None:
            scores[number] = state.record["metrics"][metric]
            losses[number] = compute_dev_loss(results, trial_id)
            convergence = state.record.get("convergence") or {}
            epochs += count_epochs(TrialSpec.parse(state.record["spec"]).num_epochs, convergence)
            num_stuck += training_state(convergence)[0] != "trained"
    kinds = tuple(replicate.dev for replicate in replicates)
    return TriedConfig(
        config, scores, losses, tuple(dict.fromkeys(failures)), epochs, kinds, num_stuck
    )


def count_epochs(num_planned: int, convergence: Mapping[str, Any]) -> int:
    """Count the epochs that a trial trained, which are fewer if it stopped early."""
    num_trained = convergence.get("num_epochs")
    return min(num_trained, num_planned) if isinstance(num_trained, int) else num_planned


def compute_dev_loss(results: Results, trial_id: str) -> float:
    """Cross-entropy of a trial on its dev rows, in nats."""
    from sklearn.metrics import log_loss

    try:
        rows: Any = results.read_table(trial_id, "predictions", ["y_true", "y_score"])
        y_score = np.array(rows["y_score"].to_pylist(), np.float64)
        num_classes = 2 if y_score.ndim == 1 else y_score.shape[1]
        return float(log_loss(rows["y_true"].to_numpy(), y_score, labels=range(num_classes)))
    except (LookupError, ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(
            f"the dev rows of trial {trial_id} cannot be used: {error}; remove its folder and "
            "search again"
        ) from error
