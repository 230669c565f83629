"""The searchers: they choose the configs that a cell tries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from xlt.data.core.errors import InputError
from xlt.data.core.registries import load_entry
from xlt.data.core.seeds import derive_seed
from xlt.sweep.experiment.search import LearningRates, Rates, Search
from xlt.sweep.experiment.searcher_names import SEARCHERS

Config = dict[str, Any]
"""Values of ``learning_rate``, ``training`` and ``lora``."""

DIGITS = 3
"""Significant digits of learning rates that are tried; more digits would make no difference."""


class Searcher(Protocol):
    """Suggests configs for one cell."""

    def ask(self) -> Config | None:
        """Return the next config; None if a score is needed first, or if there are no more."""

    def tell(self, config: Config, score: float) -> None:
        """Receive the score of a suggested config, higher is better; nan if it failed."""

    @property
    def is_exhausted(self) -> bool:
        """Whether all configs have been suggested."""


class _Listed:
    """Suggests the configs of a list."""

    def __init__(self, configs: list[Config]) -> None:
        self._remaining = configs

    def ask(self) -> Config | None:
        return self._remaining.pop(0) if self._remaining else None

    def tell(self, config: Config, score: float) -> None:
        """Ignore scores: the list does not depend on them."""

    @property
    def is_exhausted(self) -> bool:
        return not self._remaining


def suggest_grid(search: Search, rates: Rates, own_rate: float, seed: int) -> Searcher:
    """Suggest every combination, learning rates nearest to the base model's own first.

    Asynchronous halving compares a config with earlier ones, so that it saves most if good configs
    come first.
    """
    listed = space_rates(rates, search.num_configs) if isinstance(rates, LearningRates) else rates
    nearest = sorted(listed, key=lambda rate: (abs(math.log(rate / own_rate)), rate))
    return _Listed([_make_config(r, c) for c in _list_combinations(search) for r in nearest])


def suggest_random(search: Search, rates: Rates, own_rate: float, seed: int) -> Searcher:
    """Draw learning rates log-uniformly, each with a random combination of the other settings."""
    rng = np.random.default_rng(seed)
    combinations = list(_list_combinations(search))
    configs = []
    for _ in range(search.num_configs):
        if isinstance(rates, LearningRates):
            rate = math.exp(rng.uniform(math.log(rates.low), math.log(rates.high)))
        else:
            rate = float(rng.choice(rates))
        configs.append(
            _make_config(round_rate(rate), combinations[rng.integers(len(combinations))])
        )
    return _Listed([c for n, c in enumerate(configs) if c not in configs[:n]])


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al. 2011) of Optuna.

    At most a quarter of all configs run at the same time, so that later configs can use scores of
    earlier ones.
    """

    def __init__(self, search: Search, rates: Rates, own_rate: float, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise InputError(
                "searcher 'tpe' needs optuna; install it with `pip install 'xlt-sweep[search]'`, "
                "or use grid or random"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._rates, self._combinations = rates, list(_list_combinations(search))
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=4)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        if isinstance(rates, LearningRates) and rates.low <= own_rate <= rates.high:
            self._study.enqueue_trial({"learning_rate": own_rate, "combination": 0})
        self._running: list[tuple[Config, Any]] = []
        self._num_left = search.num_configs
        self._max_running = max(1, search.num_configs // 4)

    def ask(self) -> Config | None:
        """Return the next config; None while enough configs are running."""
        if not self._num_left or len(self._running) >= self._max_running:
            return None
        trial = self._study.ask()
        if isinstance(self._rates, LearningRates):
            low, high = self._rates.low, self._rates.high
            rate = round_rate(trial.suggest_float("learning_rate", low, high, log=True))
        else:
            rate = trial.suggest_categorical("learning_rate", self._rates)
        number = trial.suggest_categorical("combination", list(range(len(self._combinations))))
        config = _make_config(rate, self._combinations[number])
        self._num_left -= 1
        self._running.append((config, trial))
        return config

    def tell(self, config: Config, score: float) -> None:
        """Receive the score of a suggested config; nan if it failed."""
        position = next(n for n, (known, _) in enumerate(self._running) if known == config)
        _, trial = self._running.pop(position)
        if math.isnan(score):
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, score)

    @property
    def is_exhausted(self) -> bool:
        """Whether all configs have been suggested."""
        return not self._num_left


def make_searcher(search: Search, rates: Rates, own_rate: float, cell: str) -> Searcher:
    """Make the searcher of a cell; every cell has its own random stream."""
    seed = derive_seed(search.seeds[0], "search", search.searcher, cell)
    searcher: Searcher = load_entry(SEARCHERS, search.searcher)(search, rates, own_rate, seed)
    return searcher


def space_rates(rates: LearningRates, num: int) -> tuple[float, ...]:
    """Space ``num`` rates from low to high by equal factors, in :data:`DIGITS` digits."""
    if num == 1:
        return (round_rate(math.sqrt(rates.low * rates.high)),)
    return tuple(map(round_rate, np.geomspace(rates.low, rates.high, num)))


def round_rate(rate: float) -> float:
    """Round a rate to :data:`DIGITS` significant digits."""
    return float(f"{rate:.{DIGITS}g}")


def _list_combinations(search: Search) -> Iterator[dict[str, dict[str, Any]]]:
    """List every combination of the other settings to try."""
    places = [("training", name) for name in search.training] + [("lora", n) for n in search.lora]
    tried = [*search.training.values(), *search.lora.values()]
    for values in itertools.product(*tried):
        combination: dict[str, dict[str, Any]] = {"training": {}, "lora": {}}
        for (block, name), value in zip(places, values, strict=True):
            combination[block][name] = value
        yield combination


def _make_config(rate: float, combination: dict[str, dict[str, Any]]) -> Config:
    return {"learning_rate": rate, **combination}
