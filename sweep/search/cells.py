"""The cells of a search: on which dev rows each is tried, and that these can be held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import Dev, SourceDev, draw_dev, without_test
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.search import LearningRates, Rates, Search
from xlt.sweep.planning.grid import Cell, Grid
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.results.search_plan import Replicate, SearchedCell, SearchPlan
from xlt.trainables.spec.selection import Selection
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class SearchCell:
    """A cell with what its configs are tried on.

    Attributes:
        cell: As expanded.
        settings: The search, as it applies to this cell.
        replicates: Dev rows and seed of each trial of a config.
        templates: These trials, with the settings that the cell has without a search.
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
    def kinds(self) -> tuple[str, ...]:
        """Of each replicate's dev rows: source or target."""
        return tuple(dev.kind for dev, _ in self.replicates)

    @property
    def num_dev_rows(self) -> int:
        """Of the smallest replicate."""
        target_rows = self.templates[0].pattern.target_rows
        return min(
            dev.rows if isinstance(dev, SourceDev) else dev.num_rows(target_rows)
            for dev, _ in self.replicates
        )

    @property
    def rates(self) -> Rates:
        """What can be tried."""
        return self.settings.rates(self.templates[0].learning_rate)

    def planned(self) -> SearchedCell:
        """The cell before anything was tried."""
        rates = self.rates
        listed = (rates.low, rates.high) if isinstance(rates, LearningRates) else rates
        return SearchedCell(
            base_model=self.cell.model.name,
            pattern=self.cell.pattern.name,
            base_identity=self.templates[0].base_identity,
            own_rate=self.templates[0].learning_rate,
            replicates=tuple(
                Replicate(seed=seed, dev=dev.kind, name=str(dev)) for dev, seed in self.replicates
            ),
            low=min(listed),
            high=max(listed),
        )


def search_rows(grid: Grid) -> Dataset:
    """The rows that a search may see: no test row of any cell."""
    test_ids = {row_id for draw in grid.draws for row_id in draw.test}
    return without_test(grid.dataset, test_ids, grid.experiment.task.source_lang)


def search_cells(grid: Grid, dataset: Dataset, selection: Selection) -> list[SearchCell]:
    """The selected cells that can exist.

    Args:
        grid: The experiment, expanded.
        dataset: Its rows without test rows.
        selection: Which cells.

    Raises:
        InputError: Seeds of the experiment, no cell left, or dev rows that cannot be held out; all
            problems at once.
    """
    settings, seeds = grid.experiment.search, grid.experiment.seeds
    shared = sorted({*seeds} & {*settings.seeds})
    if shared and not settings.reuse_seeds:
        raise InputError(
            f"seeds: {shared} are seeds of the experiment, too: its scores would be those of seeds "
            "chosen on; take others, or set reuse_seeds: true",
            "search",
        )
    selected = grid.selected(selection)
    cells = [_search_cell(cell, settings, dataset.fingerprint) for cell in selected]
    _refuse_impossible(dataset, cells)
    return cells


def _search_cell(cell: Cell, settings: Search, fingerprint: str) -> SearchCell:
    first = cell.specs[0]
    if first.method == "full":
        settings = settings.model_copy(update={"lora": {}})
    if not first.pattern.source_rows and settings.dev != "auto":
        settings = settings.model_copy(update={"dev": "target"})  # a monolingual base model
    replicates = tuple(settings.replicates(first.pattern))
    templates = tuple(
        first.model_copy(update={"seed": seed, "dev": dev, "data_fingerprint": fingerprint})
        for dev, seed in replicates
    )
    return SearchCell(cell, settings, replicates, templates)


def _refuse_impossible(dataset: Dataset, cells: Sequence[SearchCell]) -> None:
    """Draw every different set of rows once, to know that all can be drawn."""
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


def search_plan(grid: Grid, cells: Sequence[SearchCell]) -> SearchPlan:
    """The search before anything was tried."""
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
