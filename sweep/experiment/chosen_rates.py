"""learning_rates.yaml: what a search chose, as a file that an experiment includes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import pydantic
import yaml

from xlt.analysis.search.choose import Choice
from xlt.data.core.settings import Settings
from xlt.trainables.results.search_plan import SearchPlan
from xlt.trainables.spec.cell_key import CellKey

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


class ChosenRate(Settings):
    """The settings chosen for a cell, and on what."""

    model: str
    """Name of the base model."""
    pattern: str
    """Name of the pattern."""
    base_identity: str
    """Identity of the weights: rates of others are not taken."""
    learning_rate: float = pydantic.Field(gt=0, strict=True)
    """Peak learning rate."""
    training: dict[str, Any] = pydantic.Field(default={})
    """Other settings of ``training`` that were chosen with it."""
    lora: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``lora`` that were chosen with it."""
    dev: tuple[str, ...]
    """Languages of the dev rows: source, target."""
    dev_score: float
    """Mean over replicates, of the metric named above."""
    dev_interval: tuple[float, float] | None = None
    """95 % interval from the standard error over replicates; too short, as folds share rows."""
    num_replicates: int
    """Trials that the mean is over."""
    edge: Literal["", "low", "high"] = ""
    """The end of the range at which the best was, widened or not."""
    why: str = ""
    """How it was chosen."""
    instead_of: float | None = None
    """Learning rate at which the cell was stuck; None: it was not searched for that."""

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.model, self.pattern)

    def __str__(self) -> str:
        """A sentence for tables and plans."""
        others = {**self.training, **self.lora}
        told = "".join(f", {k} {v}" for k, v in others.items())
        return (
            f"learning rate {self.learning_rate:g}{told} chosen on {' and '.join(self.dev)} "
            f"dev rows ({self.dev_score:.3f}, {self.num_replicates} trials a config)"
        )


class ChosenRates(Settings):
    """Learning rates of cells."""

    search_id: str
    """The search that chose them."""
    experiment: str
    """The experiment that was searched."""
    metric: str
    """What was maximised on dev rows."""
    data_fingerprint: str
    """Of the data set; rates found on other data are not taken."""
    seeds: tuple[int, ...]
    """Seeds that were searched with."""
    cells: tuple[ChosenRate, ...]
    """The cells for which a rate was found."""

    def find(self, cell: CellKey) -> ChosenRate | None:
        """The choice for a cell; None if there is none."""
        found = [chosen for chosen in self.cells if chosen.key == cell]
        return found[0] if found else None

    def to_yaml(self) -> str:
        """The file."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def chosen_rates(plan: SearchPlan, choices: Sequence[Choice]) -> ChosenRates:
    """What a search chose; cells in which no config finished are left out."""
    cells = []
    for choice in choices:
        if choice.best is None:
            continue
        best, error = choice.best, choice.best.standard_error
        interval = None
        if math.isfinite(error):
            low, high = best.score - Z_95 * error, best.score + Z_95 * error
            interval = (round(max(0.0, low), 4), round(min(1.0, high), 4))
        cells.append(
            ChosenRate(
                model=choice.cell.base_model,
                pattern=choice.cell.pattern,
                base_identity=choice.cell.base_identity,
                learning_rate=best.config.learning_rate,
                training=best.config.training,
                lora=best.config.lora,
                dev=tuple(dict.fromkeys(best.kinds)),
                dev_score=round(best.score, 4),
                dev_interval=interval,
                num_replicates=len(best.scores),
                edge=choice.edge,
                why=choice.why,
            )
        )
    seeds = dict.fromkeys(r.seed for cell in plan.cells for r in cell.replicates)
    return ChosenRates(
        search_id=plan.search_id,
        experiment=plan.experiment,
        metric=plan.metric,
        data_fingerprint=plan.data_fingerprint,
        seeds=tuple(seeds),
        cells=tuple(cells),
    )
