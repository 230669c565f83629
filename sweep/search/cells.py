"""The cells of a search, with the dev rows and seeds on which configs are tried."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import Dev, draw_dev, without_test
from xlt.data.dataset.draws import list_shared_directions
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.search import LearningRates, Rates, Search
from xlt.sweep.planning.cell import Cell
from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.translations import list_directions
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchPlan
from xlt.trainables.spec.selection import Selection
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class SearchCell:
    """A cell with the replicates on which its configs are tried.

    Attributes:
        cell: The cell of the grid.
        settings: The search settings of this cell.
        replicates: Dev rows and seed of each trial of a config.
        templates: These trials, with the settings of the cell without a search.
    """

    cell: Cell
    settings: Search
    replicates: tuple[tuple[Dev, int], ...]
    templates: tuple[TrialSpec, ...]

    @property
    def name(self) -> str:
        """The cell's name in messages and search plans."""
        return str(self.cell.key)

    @property
    def dev_kinds(self) -> tuple[str, ...]:
        """Language of the dev rows of each replicate: source or target."""
        return tuple(dev.kind for dev, _ in self.replicates)

    @property
    def num_dev_rows(self) -> int:
        """Number of dev rows of the smallest replicate."""
        target_rows = self.templates[0].pattern.target_rows
        return min(dev.num_rows(target_rows) for dev, _ in self.replicates)

    @property
    def own_rate(self) -> float:
        """Learning rate of the cell without a search."""
        rate = self.templates[0].learning_rate
        assert rate is not None  # a search leaves out baselines
        return rate

    @property
    def rates(self) -> Rates:
        """Learning rates that can be tried."""
        return self.settings.rates(self.own_rate)

    def planned(self) -> SearchedCell:
        """Make the cell's entry in the search plan, before any config is tried."""
        rates = self.rates
        listed = (rates.low, rates.high) if isinstance(rates, LearningRates) else rates
        return SearchedCell(
            base_model=self.cell.model.name,
            pattern=self.cell.pattern.name,
            base_identity=self.templates[0].base_identity,
            own_rate=self.own_rate,
            replicates=tuple(
                Replicate(seed=seed, dev=dev.kind, name=str(dev)) for dev, seed in self.replicates
            ),
            low=min(listed),
            high=max(listed),
        )


def select_search_rows(grid: Grid) -> Dataset:
    """Select the rows that a search may use: all but the test rows of all cells."""
    experiment = grid.experiment
    langs = experiment.source_langs
    read = list_shared_directions(langs, list_directions(experiment), experiment.sampling)
    return without_test(grid.dataset, grid.test_ids, langs, read)


def make_search_cells(grid: Grid, dataset: Dataset, selection: Selection) -> list[SearchCell]:
    """Make the cells of a search from the selected cells that can exist and have a learning rate.

    Args:
        grid: The grid of the experiment.
        dataset: Rows of the experiment without test rows.
        selection: The selected cells.

    Raises:
        InputError: The search has seeds of the experiment, no cell with a learning rate is
            selected, or dev rows cannot be held out; all problems of one kind together.
    """
    settings, seeds = grid.experiment.search, grid.experiment.seeds
    shared = sorted({*seeds} & {*settings.seeds})
    if shared and not settings.reuse_seeds:
        raise InputError(
            f"seeds: {shared} are seeds of the experiment, too, so that its final scores would use "
            "seeds on which rates were chosen; give other seeds, or set reuse_seeds: true",
            "search",
        )
    selected = [
        cell
        for cell in grid.selected(selection)
        if not (cell.specs[0].is_baseline or cell.specs[0].mean_of)
    ]
    if not selected:
        raise InputError(
            "every selected cell is a baseline or a mean of trials, which have no learning rate of "
            "their own; select other cells",
            "search",
        )
    cells = [_make_search_cell(cell, settings, dataset) for cell in selected]
    _refuse_undrawable(dataset, cells)
    return cells


def _make_search_cell(cell: Cell, settings: Search, dataset: Dataset) -> SearchCell:
    first = cell.specs[0]
    for values in itertools.product(*settings.training.values()):
        changes = dict(zip(settings.training, values, strict=True))
        Training.parse(first.training.model_dump() | changes, f"search.training, {cell.key}")
    if first.method != "lora":
        settings = settings.model_copy(update={"lora": {}})
    if not first.pattern.source_rows and settings.dev != "auto":
        settings = settings.model_copy(
            update={"dev": "target"}
        )  # a monolingual base model has no source rows
    replicates = tuple(settings.replicates(first.pattern))
    directions = first.pattern.directions(first.source_lang)
    read = {
        "data_fingerprint": dataset.fingerprint,
        "translations": dataset.translations.fingerprint(*directions),
    }
    templates = tuple(
        first.model_copy(update={"seed": seed, "dev": dev, **read}) for dev, seed in replicates
    )
    return SearchCell(cell, settings, replicates, templates)


def _refuse_undrawable(dataset: Dataset, cells: Sequence[SearchCell]) -> None:
    """Draw every different set of dev rows once, and raise if one cannot be drawn."""
    problems: dict[str, None] = {}
    first = [cell.templates[0] for cell in cells]
    draws = {
        (spec.source_lang, spec.pattern, spec.sampling, spec.draw_index, dev): None
        for spec, cell in zip(first, cells, strict=True)
        for dev, _ in cell.replicates
    }
    for source_lang, pattern, sampling, draw_index, dev in draws:
        try:
            draw_dev(dataset, source_lang, pattern, sampling, draw_index, dev)
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise InputError(list(problems), "search")


def make_search_plan(grid: Grid, cells: Sequence[SearchCell]) -> SearchPlan:
    """Make the plan of a search, before any config is tried."""
    settings = grid.experiment.search.model_dump(mode="json")
    identity = {
        "settings": settings,
        "data": grid.dataset.fingerprint,
        "trials": {cell.name: [spec.identity() for spec in cell.templates] for cell in cells},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return SearchPlan(
        experiment=grid.experiment.name,
        search_id=digest[:12],
        settings=settings,
        data_fingerprint=grid.dataset.fingerprint,
        metric=selection_metric(len(grid.dataset.classes)),
        cells=tuple(cell.planned() for cell in cells),
    )
