"""learning_rates.yaml: the learning rates that a search chose, for an experiment to include."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import yaml

from xlt.data.core.settings import Settings
from xlt.trainables.results.search_plan import SearchPlan
from xlt.trainables.spec.cell_key import CellKey

if TYPE_CHECKING:
    from xlt.analysis.search.choose import Choice


class ChosenRate(Settings):
    """The settings that a search chose for a cell, with the evidence."""

    model: str
    """Name of the base model."""
    pattern: str
    """Name of the pattern."""
    base_identity: str
    """Identity of the weights; rates that were chosen for other weights are refused."""
    learning_rate: float = pydantic.Field(gt=0, strict=True)
    """Peak learning rate."""
    training: dict[str, Any] = pydantic.Field(default={})
    """Other settings of ``training`` that were chosen with the rate."""
    lora: dict[str, Any] = pydantic.Field(default={})
    """Settings of ``lora`` that were chosen with the rate."""
    dev: tuple[str, ...]
    """Languages of the dev rows: source, target."""
    dev_score: float
    """Mean of the metric over replicates; too high, because it is the best of several."""
    num_configs: int = 0
    """Number of configs that were tried; 0 in files of early versions."""
    num_epochs: int = 0
    """Number of epochs that were trained for the choice; 0 in files of early versions."""
    num_replicates: int
    """Number of trials behind the mean."""
    edge: Literal["", "low", "high"] = ""
    """The end of the range at which the best rate was; empty if it was inside."""
    why: str = ""
    """The reason for the choice."""
    instead_of: float | None = None
    """The learning rate at which the cell did not train; None if that was not why it was
    searched."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_interval(cls, values: Any) -> Any:
        """Accept files of early versions, whose ``dev_interval`` was too short and too high."""
        if isinstance(values, dict):
            values = {name: value for name, value in values.items() if name != "dev_interval"}
        return values

    @property
    def key(self) -> CellKey:
        """The cell's name."""
        return CellKey(self.model, self.pattern)

    def __str__(self) -> str:
        """Describe the choice in one sentence, for tables and plans."""
        others = {**self.training, **self.lora}
        settings = "".join(f", {k} {v}" for k, v in others.items())
        return (
            f"learning rate {self.learning_rate:g}{settings} chosen on {' and '.join(self.dev)} "
            f"dev rows ({self._budget}dev score {self.dev_score:.3f}, too high for being the best; "
            f"{self.num_replicates} trials a config)"
        )

    @property
    def _budget(self) -> str:
        """Phrase on what the choice cost; empty if it is not known."""
        if not self.num_configs:
            return ""
        return f"best of {self.num_configs} configs, {self.num_epochs} epochs; "


class ChosenRates(Settings):
    """The learning rates that a search chose, by cell."""

    search_id: str
    """Id of the search."""
    experiment: str
    """Name of the experiment."""
    metric: str
    """Name of the metric that was maximised on dev rows."""
    data_fingerprint: str
    """Fingerprint of the data set; rates that were chosen on other data are refused."""
    seeds: tuple[int, ...]
    """Seeds of the trials of the search."""
    cells: tuple[ChosenRate, ...]
    """The choice for each cell in which a config finished."""

    def find(self, cell: CellKey) -> ChosenRate | None:
        """Find the choice for a cell; None if there is none."""
        matching = [chosen for chosen in self.cells if chosen.key == cell]
        return matching[0] if matching else None

    def to_yaml(self) -> str:
        """Write the choices as the text of the file."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def collect_chosen_rates(plan: SearchPlan, choices: Sequence[Choice]) -> ChosenRates:
    """Collect the choices of a search; leave out cells in which no config finished."""
    cells = []
    for choice in choices:
        if choice.best is None:
            continue
        best = choice.best
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
                num_configs=len(choice.tried),
                num_epochs=sum(tried.epochs for tried in choice.tried),
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
