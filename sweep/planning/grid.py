"""The grid: all trials of an experiment as frozen specs, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from xlt.data.core.errors import InputError
from xlt.data.dataset.dev import draw_with_dev
from xlt.data.dataset.draws import Draw, group_by_story
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import list_source_langs
from xlt.sweep.experiment.chosen_rates import ChosenRate, ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.overrides import find_unused_adapters
from xlt.sweep.planning.cell import (
    Cell,
    find_averaged_cells,
    leave_out_impossible_means,
    make_cell,
    run_again,
    share_chosen_rates,
)
from xlt.sweep.planning.prepare import Prepared
from xlt.sweep.planning.test_langs import share_training
from xlt.sweep.planning.trained_rows import restrict_patterns
from xlt.sweep.planning.translations import describe_translations
from xlt.trainables.metrics.early_stopping import check_dev_metric
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.row_weights import check_class_weights
from xlt.trainables.spec.selection import Selection
from xlt.trainables.spec.trial_spec import TrialSpec


@dataclass(frozen=True)
class Grid:
    """Every cell of an experiment, base model by base model.

    Attributes:
        experiment: The experiment.
        dataset: The rows that trials draw from.
        cells: All len(models) x len(patterns) cells.
        draws: All different sets of rows that cells use.
        held_out: Texts of all test rows, as :func:`text_key` makes them; nothing may be trained on
            them.
    """

    experiment: Experiment
    dataset: Dataset
    cells: tuple[Cell, ...]
    draws: tuple[Draw, ...]
    held_out: frozenset[str]

    @property
    def specs(self) -> list[TrialSpec]:
        """Every trial, cell by cell."""
        return [spec for cell in self.cells for spec in cell.specs]

    @property
    def test_ids(self) -> set[str]:
        """Ids of the test rows of all cells."""
        return {row_id for draw in self.draws for row_id in draw.test}

    def selected(self, selection: Selection) -> list[Cell]:
        """List the selected cells that can exist.

        Raises:
            InputError: There is no such cell.
        """
        cells = [cell for cell in self.cells if cell.specs and selection.has(cell.key)]
        if not cells:
            raise InputError("no cell that can exist is selected; see `xlt plan`", "--only")
        return cells

    def _name_source_langs(self, pattern: Pattern) -> tuple[str, ...]:
        """Name the source languages of a pattern for the plan, if there is a choice."""
        if not self.experiment.names_source_langs or not (pattern.source_rows or pattern.translate):
            return ()
        return list_source_langs(self.experiment.find_source_lang(pattern))

    def plan(self, data_warnings: tuple[str, ...] = (), extensions: Mapping[str, str] = {}) -> Plan:
        """Make the plan that is written beside the results, so that tables know the whole grid.

        Args:
            data_warnings: Warnings about the data, see :mod:`xlt.sweep.planning.gate`.
            extensions: Trial id -> finished trial that it extends, from :func:`find_extensions`.
        """
        return Plan(
            experiment=self.experiment.name,
            title=self.experiment.title,
            positive=self.experiment.task.positive,
            classes=self.dataset.classes,
            prevalence=self.experiment.task.prevalence,
            cost=self.experiment.cost,
            data_fingerprint=self.dataset.fingerprint,
            data_warnings=data_warnings,
            same_story=group_by_story(self.dataset, (draw.test for draw in self.draws)),
            wrong_labels=tuple(sorted(self.dataset.wrong_labels & self.test_ids)),
            translations=describe_translations(self.experiment, self.dataset),
            cells=tuple(
                PlannedCell(
                    base_model=cell.model.name,
                    pattern=cell.pattern.name,
                    target_lang=cell.pattern.target_lang,
                    translate=cell.pattern.translate,
                    source_langs=self._name_source_langs(cell.pattern),
                    test_langs=cell.test_langs,
                    names={p.target_lang: p.name for p in cell.serves if p != cell.pattern},
                    trials=_plan_trials(cell.specs, extensions),
                    skipped=cell.skipped,
                    note=cell.note,
                    chosen=str(cell.chosen or ""),
                    replaced=_plan_trials(cell.replaced, {}),
                )
                for cell in self.cells
            ),
        )


def expand(prepared: Prepared, rescued: ChosenRates | None = None) -> Grid:
    """Compute every trial of an experiment, without reading anything.

    Dev rows of early stopping are drawn, to make sure that there are enough.

    Args:
        prepared: The experiment with its rows and base models.
        rescued: Learning rates with which stuck cells run again (rescue.py).

    Raises:
        InputError: Learning rates that were chosen for other data or weights, settings that do not
            fit a base model or the data, or no cell that can exist; all problems of one kind
            together.
    """
    experiment, dataset = prepared.experiment, prepared.dataset
    if experiment.task.prevalence is not None and len(dataset.classes) != 2:
        raise InputError(
            f"is the share of one class of two, and the data have {len(dataset.classes)} classes; "
            "remove it",
            "task.prevalence",
        )
    if experiment.learning_rates:
        _refuse_other_rates(experiment.learning_rates, prepared)
    methods = {resolved.model.name: resolved.method for resolved in prepared.models}
    if unused := find_unused_adapters(experiment.overrides, methods):
        raise InputError(unused)
    cells = _make_cells(prepared)
    if rescued:
        averaged = find_averaged_cells(cells)
        cells = [run_again(cell, rescued, averaged.get(cell.key, cell.key)) for cell in cells]
    cells = leave_out_impossible_means(cells, experiment.storage.keep_models)
    _refuse_unfit(cells, dataset)
    _refuse_undrawable(cells, dataset)
    if not any(cell.specs for cell in cells):
        reasons = (f"{c.key}: {c.skipped}" for c in cells)
        raise InputError(["no cell of the grid can exist", *reasons])
    return Grid(experiment, dataset, tuple(cells), prepared.draws, prepared.held_out)


def _make_cells(prepared: Prepared) -> list[Cell]:
    """Make every cell, with the learning rates that a search chose."""
    rates = prepared.experiment.learning_rates
    if rates is None:
        return _make_cells_at(prepared, lambda _: None)
    cells = _make_cells_at(prepared, rates.find)
    if not any(spec.mean_of for cell in cells for spec in cell.specs):
        return cells
    chosen = share_chosen_rates(_make_cells_at(prepared, lambda _: None), cells)
    return _make_cells_at(prepared, chosen.__getitem__)


def _make_cells_at(
    prepared: Prepared, find_rate: Callable[[CellKey], ChosenRate | None]
) -> list[Cell]:
    experiment, dataset = prepared.experiment, prepared.dataset
    cells = []
    for model in prepared.models:
        serves = share_training(experiment, model.model)
        for pattern, trained in restrict_patterns(experiment, model.model).items():
            chosen = find_rate(CellKey(model.model.name, pattern.name))
            cell = make_cell(experiment, model, pattern, trained, dataset, chosen)
            cells.append(replace(cell, serves=serves[pattern]))
    return cells


def _refuse_other_rates(rates: ChosenRates, prepared: Prepared) -> None:
    """Refuse learning rates that were chosen on other data or for other weights."""
    identities = {resolved.model.name: resolved.identity for resolved in prepared.models}
    problems = []
    if rates.data_fingerprint != prepared.dataset.fingerprint:
        problems.append(
            f"were chosen on other data ({rates.data_fingerprint[:12]}, here "
            f"{prepared.dataset.fingerprint[:12]}); search again with `xlt search`"
        )
    for cell in rates.cells:
        if cell.model in identities and cell.base_identity != identities[cell.model]:
            problems.append(
                f"{cell.key}: was chosen for {cell.base_identity}, here it is "
                f"{identities[cell.model]}; search this cell again"
            )
    if problems:
        raise InputError(problems, "learning_rates")


def _refuse_unfit(cells: Sequence[Cell], dataset: Dataset) -> None:
    """Refuse settings that do not fit the base model or the data of their cell."""
    problems: dict[str, None] = {}
    paired = dataset.table["text_pair"].null_count == 0
    for cell in (cell for cell in cells if cell.specs):
        spec, checkpoint, misfits = cell.specs[0], cell.resolved.checkpoint, list[str]()
        check_class_weights(spec.training.class_weights, dataset.classes)
        problems |= dict.fromkeys(_list_unused(spec))
        check_dev_metric(spec.training.early_stopping, len(dataset.classes))
        if spec.prompt:
            lang = spec.pattern.target_lang
            misfits += spec.prompt.problems(lang, dataset.classes, paired=paired)
        if checkpoint:
            misfits += checkpoint.problems(spec)
        if spec.peft:
            misfits += _find_peft_problems(spec)
        problems |= {f"base model {cell.model.name!r}: {problem}": None for problem in misfits}
    if problems:
        raise InputError(problems)


def _list_unused(spec: TrialSpec) -> Iterator[str]:
    """Write a sentence if ``target_share`` is so small that target rows are never trained on."""
    training, pattern, num_target = spec.training, spec.pattern, spec.num_target_rows
    source_rows = pattern.num_train_rows - pattern.target_rows
    num_used = training.count_target_rows(source_rows, num_target) * training.num_train_epochs
    if num_used < num_target and not training.has_stages:  # a second stage has them all
        yield (
            f"{pattern.name}: target_share {training.target_share} takes {num_used} of "
            f"{num_target} target rows in {training.num_train_epochs} epochs; raise it, or remove "
            "it for this pattern by an override"
        )


def _refuse_undrawable(cells: Sequence[Cell], dataset: Dataset) -> None:
    """Draw every different set of dev rows once.

    Raises:
        InputError: Cells have too few rows for dev rows; all of them together.
    """
    problems: dict[str, None] = {}
    drawn = set()
    for spec in (spec for cell in cells for spec in cell.specs if spec.stopping_dev):
        rows = spec.source_lang, spec.pattern, spec.sampling, spec.draw_index, spec.stopping_dev
        if rows in drawn:
            continue
        drawn.add(rows)
        try:
            draw_with_dev(dataset, *rows)
        except InputError as error:
            problems |= dict.fromkeys(f"{spec.base_model}, {p}" for p in error.problems)
    if problems:
        raise InputError(
            [
                *problems,
                "give such cells other dev rows in an override (training: {early_stopping: {dev: "
                "target}} or source), or none (training: {early_stopping: null})",
            ],
            "training.early_stopping",
        )


def _find_peft_problems(spec: TrialSpec) -> list[str]:
    """List settings of ``method: peft`` that cannot work."""
    from xlt.trainables.methods.any_peft import find_problems  # imports peft, which takes seconds

    problems = find_problems(spec)
    if spec.resources.is_sharded:
        problems.append("method peft cannot be sharded; set resources.sharding to ddp")
    return problems


def _plan_trials(
    specs: Sequence[TrialSpec], extensions: Mapping[str, str]
) -> tuple[PlannedTrial, ...]:
    return tuple(
        PlannedTrial(
            trial_id=spec.trial_id,
            seed=spec.seed,
            draw_index=spec.draw_index,
            extends=extensions.get(spec.trial_id, ""),
        )
        for spec in specs
    )
