"""What a search found: dev scores of every config, and the config that is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.trials.training_state import training_state
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchedConfig, SearchPlan
from xlt.trainables.results.trial_result import TrialState

TIE = 1e-9
"""Scores that differ by less are equal: means of AUROCs of few rows often are, but for rounding."""
LOSS_WEIGHT = 1e-7
"""Of the dev loss in a rank: it decides equal scores and nothing else. AUROCs of b x b rows differ
by at least 1 / b^2, means over n replicates by 1 / (n b^2), some 1e-5 for 128 x 128 and 5."""


@dataclass(frozen=True)
class Tried:
    """A config of a cell, and how it scored.

    Attributes:
        config: What was tried.
        scores: num_replicates dev scores, nan where none is there.
        losses: num_replicates dev losses (cross-entropy, nats), likewise.
        failures: Errors of replicates that failed; a failed config is never chosen.
        epochs: Trial-epochs that were spent on it.
        kinds: num_replicates languages of dev rows: source, target.
        num_stuck: Replicates that did not train (:mod:`xlt.analysis.trials.training_state`).
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
        """Whether every replicate is there."""
        return bool(np.isfinite(self.scores).all())

    @property
    def trains(self) -> bool:
        """Whether most of its replicates trained."""
        return 2 * self.num_stuck < len(self.scores)

    @property
    def score(self) -> float:
        """Mean dev score; with source and target dev rows, the mean of the two means."""
        return by_kind(self.scores, self.kinds)

    @property
    def loss(self) -> float:
        """Mean dev loss, as :attr:`score`."""
        return by_kind(self.losses, self.kinds)

    @property
    def standard_error(self) -> float:
        """Of the mean over replicates; nan for one.

        Too small, because folds share training rows (Bengio & Grandvalet 2004, JMLR 5).
        """
        known = self.scores[np.isfinite(self.scores)]
        return float(np.std(known, ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan


def by_kind(values: NDArray[np.float64], kinds: Sequence[str]) -> float:
    """Mean over kinds of dev rows of the mean over their values that are there; nan for none."""
    means = []
    for kind in dict.fromkeys(kinds):
        known = [v for v, k in zip(values, kinds, strict=True) if k == kind and math.isfinite(v)]
        if known:
            means.append(sum(known) / len(known))
    return sum(means) / len(means) if means else math.nan


def rank(
    scores: NDArray[np.float64], losses: NDArray[np.float64], kinds: Sequence[str], num_stuck: int
) -> float:
    """The order of :func:`choose` as one number, for configs tried on the same replicates so far.

    Args:
        scores: num_replicates dev scores, nan where a replicate was not tried yet.
        losses: num_replicates dev losses, likewise.
        kinds: num_replicates languages of dev rows.
        num_stuck: Replicates that did not train.

    Returns:
        The mean score less :data:`LOSS_WEIGHT` of the mean loss; 1 less if at least half of the
        replicates did not train. Larger is better.
    """
    found = by_kind(scores, kinds) - LOSS_WEIGHT * by_kind(losses, kinds)
    return found if 2 * num_stuck < int(np.isfinite(scores).sum()) else found - 1


@dataclass(frozen=True)
class Choice:
    """The config chosen for a cell.

    Attributes:
        cell: The cell.
        tried: Everything that was tried, in the order of learning rates.
        best: The chosen one; None if nothing was completed without a failure.
        edge: ``low`` or ``high`` if its learning rate is that end of the range; else empty.
        why: How it was chosen, a phrase.
    """

    cell: SearchedCell
    tried: tuple[Tried, ...]
    best: Tried | None
    edge: str
    why: str


def choose(
    cell: SearchedCell, tried: Sequence[Tried], *, one_standard_error: bool = False
) -> Choice:
    """Choose the config with the highest mean dev score.

    Only configs with all replicates and no failure are compared: the mean of fewer replicates is
    over other rows. Those with which most trials did not train come last, whatever few dev rows say
    of them. Equal scores are decided by the dev loss, then for the smaller rate.

    Args:
        cell: The cell.
        tried: Its configs.
        one_standard_error: Take the smallest rate within one standard error of the best (Breiman,
            Friedman, Olshen & Stone 1984, section 3.4.3).
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
    """Read what a search has tried until now, and choose.

    Args:
        results: Where its trials lie.
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
) -> Tried:  # fmt: skip
    scores, losses = np.full((2, len(replicates)), np.nan)
    failures, epochs, num_stuck = [], 0, 0
    for number, trial_id in enumerate(config.trial_ids[: config.num_tried]):
        found = states[trial_id]
        if found.state == "failed":
            failures.append(found.detail)
        if found.state == "done" and found.record is not None:
            scores[number] = found.record["metrics"][metric]
            losses[number] = dev_loss(results, trial_id)
            epochs += found.record["spec"]["training"]["num_train_epochs"]
            num_stuck += training_state(found.record.get("convergence") or {})[0] != "trained"
    kinds = tuple(replicate.dev for replicate in replicates)
    return Tried(config, scores, losses, tuple(dict.fromkeys(failures)), epochs, kinds, num_stuck)


def dev_loss(results: Results, trial_id: str) -> float:
    """Cross-entropy of a trial's dev rows, nats."""
    from sklearn.metrics import log_loss

    rows: Any = results.read_table(trial_id, "predictions")
    y_score = np.array(rows["y_score"].to_pylist())
    num_classes = 2 if y_score.ndim == 1 else y_score.shape[1]
    return float(log_loss(rows["y_true"].to_numpy(), y_score, labels=range(num_classes)))
