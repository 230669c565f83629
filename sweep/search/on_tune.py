"""A search on Ray Tune: a Tune trial is a config of a cell, tried on one replicate after the other.

Every replicate (a seed with its dev rows) is an ordinary trial with its own result folder, so that
a search resumes like a run. The resource of asynchronous successive halving (ASHA, Li et al. 2020,
arXiv 1810.05934) is the number of replicates: all configs are compared on the same replicates, with
whole learning-rate schedules, and a bad config is stopped after a few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher as TuneSearcher

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.events import Failed
from xlt.sweep.backends.packs import Packing, choose_pack_size
from xlt.sweep.backends.unwritable import refuse_unwritable
from xlt.sweep.backends.worker import describe
from xlt.sweep.experiment.search import Search
from xlt.sweep.on_ray.connection import group_by_resources
from xlt.sweep.on_ray.deaths import explain_deaths, read_death
from xlt.sweep.on_ray.tune.failed_starts import FailedStarts
from xlt.sweep.on_ray.tune.tuner import StopAll, tune_all
from xlt.sweep.on_ray.worker import ImportFailedError, share
from xlt.sweep.search.budget import Budget
from xlt.sweep.search.config_report import ConfigReport, unwrap
from xlt.sweep.search.config_trial import FAILED_RANK, try_config
from xlt.sweep.search.searchers import Config, Searcher
from xlt.trainables.results.result import Results
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass
class CellSearch:
    """The state of a cell during a search.

    Attributes:
        name: Names of base model and pattern.
        templates: One spec for each replicate, with the settings of the cell without a search.
        dev_kinds: Language of the dev rows of each replicate: source or target.
        grace: Number of replicates before a config may be stopped.
        searcher: The searcher that suggests configs.
        retries: Configs to try again because their worker process died.
        deaths: Number of deaths of worker processes, by config.
    """

    name: str
    templates: tuple[TrialSpec, ...]
    dev_kinds: tuple[str, ...]
    grace: int
    searcher: Searcher
    retries: list[Config] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)

    @property
    def has_more(self) -> bool:
        """Whether a config is left to try."""
        return bool(self.retries) or not self.searcher.is_exhausted


@dataclass(frozen=True)
class Listener:
    """Functions that are called when a config starts and ends.

    Attributes:
        started: Called before a config is tried, with cell, config and ids of its trials.
        ended: Called when a config ends, with cell, config and last report (None if its worker
            process died).
    """

    started: Callable[[str, Config, tuple[str, ...]], None]
    ended: Callable[[str, Config, ConfigReport | None], None]


def search_on_tune(
    cells: list[CellSearch], dataset: Dataset, results: Results, settings: Search, metric: str,
    listener: Listener, budget: Budget, packing: Packing,
) -> bool:  # fmt: skip
    """Try the configs that the searchers of cells suggest.

    Args:
        cells: Cells in launch order.
        dataset: The rows without test rows.
        results: The results location.
        settings: Settings of early stopping.
        metric: Name of the metric that is maximised.
        listener: Functions to call when configs start and end.
        budget: Budget of the search, which ends when a limit is reached.
        packing: Number of replicates of a config that train side by side.

    Returns:
        Whether all suggested configs were tried to their ends.

    Raises:
        InputError: No machine of the cluster can hold a trial, no worker can import the code of
            trials, or the results location accepts no more files.
    """
    _refuse_groups(cells)
    for launch in group_by_resources([cell.templates[0] for cell in cells]):
        launched = [cell for cell in cells if cell.templates[0] in launch.specs]
        shared = {
            **share(launch.specs, dataset),
            "cells": [(cell.templates, cell.dev_kinds) for cell in launched],
            "results": results,
            "metric": metric,
            "pack_size": choose_pack_size(packing, has_gpus="GPU" in launch.bundle),
        }
        searcher = _Suggestions(launched, listener)
        reports = _Reports(budget, searcher)
        tune_all(
            try_config,
            shared,
            tune.PlacementGroupFactory([launch.bundle]),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=_CellAsha(launched, settings)
                if settings.early_stopping == "asha"
                else None,
                num_samples=-1,
                reuse_actors=True,
            ),
            callback=reports,
            stop=StopAll(reports.must_stop),
        )
        reports.failed_starts.refuse()
        refuse_unwritable(results, budget.unwritable)
        if not searcher.is_over:
            return False
    return True


def _refuse_groups(cells: list[CellSearch]) -> None:
    """Refuse trials of several processes, because a search runs all trials of a config in one."""
    names = sorted({t.base_model for c in cells for t in c.templates if t.resources.workers > 1})
    if names:
        raise InputError(
            f"a search trains each trial in one process, but {', '.join(names)} has "
            "resources.workers > 1; search with --set resources.workers=1 (gradient_checkpointing "
            "and micro_batch_size save memory) or give the learning rate"
        )


class _Suggestions(TuneSearcher):
    """Passes configs from searchers to Tune, cell by cell, so that base models stay loaded."""

    def __init__(self, cells: list[CellSearch], listener: Listener) -> None:
        super().__init__(metric="rank", mode="max")
        self._cells, self._listener = cells, listener
        self._running: dict[str, tuple[CellSearch, Config]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune pickles its searcher, which holds a terminal."""
        return {}

    @property
    def is_over(self) -> bool:
        """Whether no config is running and none is left to try."""
        return not self._running and not any(cell.has_more for cell in self._cells)

    def suggest(self, trial_id: str) -> Any:
        for number, cell in enumerate(self._cells):
            config = cell.retries.pop(0) if cell.retries else cell.searcher.ask()
            if config is not None:
                self._running[trial_id] = (cell, config)
                trial_ids = tuple(s.tuned(**config).trial_id for s in cell.templates)
                self._listener.started(cell.name, config, trial_ids)
                return {"cell": number, "config": config}
        # None: Tune asks again later, because a searcher waits for results.
        return (
            None if self._running or any(cell.has_more for cell in self._cells) else self.FINISHED
        )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or trial_id not in self._running:  # Tune writes the error after this call
            return
        cell, config = self._running.pop(trial_id)
        self._end(cell, config, unwrap(result) if result else None)

    def on_death(self, trial_id: str, num_finished: int, error: BaseException | str) -> None:
        """Retry a config whose worker process died; finished replicates are kept.

        Args:
            trial_id: The Tune trial.
            num_finished: Number of replicates that it reported.
            error: The value of :func:`read_death`.
        """
        cell, config = self._running.pop(trial_id)
        num_deaths = cell.deaths[str(config)] = cell.deaths.get(str(config), 0) + 1
        if num_deaths <= cell.templates[0].resources.retries:
            cell.retries.append(config)
            self._listener.ended(cell.name, config, None)
            return
        failure = Failed(describe(explain_deaths(num_deaths, error)))
        self._end(cell, config, ConfigReport(num_finished, FAILED_RANK, failure=failure))

    def _end(self, cell: CellSearch, config: Config, report: ConfigReport | None) -> None:
        is_ranked = report and not isinstance(report.failure, Failed)
        cell.searcher.tell(config, report.rank if report and is_ranked else math.nan)
        self._listener.ended(cell.name, config, report)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes from its result folders."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, see :meth:`save`."""


class _CellAsha(FIFOScheduler):
    """Asynchronous successive halving within each cell; scores of two cells are not comparable."""

    def __init__(self, cells: list[CellSearch], settings: Search) -> None:
        super().__init__()
        self._asha = [
            ASHAScheduler(
                time_attr="replicates",
                metric="rank",
                mode="max",
                max_t=len(cell.dev_kinds),
                grace_period=min(cell.grace, len(cell.dev_kinds)),
                reduction_factor=settings.reduction_factor,
            )
            for cell in cells
        ]

    def _of(self, trial: Any) -> ASHAScheduler:
        return self._asha[trial.config["cell"]]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = self._of(trial).on_trial_result(tune_controller, trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)


class _Reports(tune.Callback):
    """Adds reports to the budget, passes deaths on, and counts workers that cannot import code."""

    def __init__(self, budget: Budget, suggestions: _Suggestions) -> None:
        self._budget, self._suggestions, self.failed_starts = budget, suggestions, FailedStarts()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune pickles its callbacks, but a search is never restored from them."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.failed_starts.reset()
        self._budget.add(unwrap(result))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = read_death(trial)
        if isinstance(error, ImportFailedError):
            self.failed_starts.add(error)
        num_finished = trial.last_result.get("replicates", 0) if trial.last_result else 0
        self._suggestions.on_death(trial.trial_id, num_finished, error)

    def must_stop(self) -> bool:
        """Return whether Tune must end all trials now."""
        return self._budget.is_over or bool(self.failed_starts.problem)
