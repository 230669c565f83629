"""The grid: all trials of an experiment as frozen specs, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xlt.data.core.errors import InputError
from xlt.data.dataset.draws import Draw, group_by_story
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.chosen_rates import ChosenRate, ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.overrides import Override
from xlt.sweep.planning.prepare import Prepared, restrict_pattern
from xlt.sweep.planning.resolved_models import ResolvedModel
from xlt.sweep.planning.translations import describe_translations
from xlt.trainables.models.base_models import BaseModel
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.class_weights import check_class_weights
from xlt.trainables.spec.methods import BASELINES, keep_used_training
from xlt.trainables.spec.selection import Selection
from xlt.trainables.spec.trial_spec import Lora, Training, TrialSpec

ZERO_SHOT = "zero-shot prompts: every seed gives the same scores, so their std is 0"


@dataclass(frozen=True)
class Cell:
    """A base model on a pattern, with all of its trials.

    Attributes:
        resolved: The base model.
        pattern: The pattern, as the experiment names it.
        specs: One trial for each draw and seed; empty if the cell cannot exist.
        skipped: The reason why the cell cannot exist; else empty.
        overrides: The overrides of the cell, in the order of the experiment.
        chosen: The learning rate that a search chose; None if it was not searched.
        rescued: The learning rate with which a stuck cell runs again; else None.
        replaced: The stuck trials of a cell that runs again.
    """

    resolved: ResolvedModel
    pattern: Pattern
    specs: tuple[TrialSpec, ...]
    skipped: str
    overrides: tuple[Override, ...]
    chosen: ChosenRate | None = None
    rescued: ChosenRate | None = None
    replaced: tuple[TrialSpec, ...] = ()

    @property
    def model(self) -> BaseModel:
        """The base model as the experiment names it."""
        return self.resolved.model

    @property
    def key(self) -> CellKey:
        """Names of base model and pattern."""
        return CellKey(self.model.name, self.pattern.name)

    @property
    def note(self) -> str:
        """Footnote for tables: why the settings differ from those of other cells."""
        reasons = [override.why for override in self.overrides if override.why]
        reasons += [f"run again: {self.rescued.why}"] if self.rescued else []
        reasons += [ZERO_SHOT] if self.is_zero_shot else []
        return "; ".join(reasons)

    @property
    def is_zero_shot(self) -> bool:
        """Whether trials are prompts without training rows, so that nothing is random in them."""
        return any(spec.prompt and not spec.pattern.target_rows for spec in self.specs)


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

    def selected(self, selection: Selection) -> list[Cell]:
        """List the selected cells that can exist.

        Raises:
            InputError: There is no such cell.
        """
        cells = [cell for cell in self.cells if cell.specs and selection.has(cell.key)]
        if not cells:
            raise InputError("no cell that can exist is selected; see `xlt plan`", "--only")
        return cells

    def plan(self, data_warnings: tuple[str, ...] = ()) -> Plan:
        """Make the plan that is written beside the results, so that tables know the whole grid.

        Args:
            data_warnings: Warnings about the data, see :mod:`xlt.sweep.planning.gate`.
        """
        tested = {row_id for draw in self.draws for row_id in draw.test}
        return Plan(
            experiment=self.experiment.name,
            title=self.experiment.title,
            positive=self.experiment.task.positive,
            classes=self.dataset.classes,
            prevalence=self.experiment.task.prevalence,
            data_fingerprint=self.dataset.fingerprint,
            data_warnings=data_warnings,
            same_story=group_by_story(self.dataset, (draw.test for draw in self.draws)),
            wrong_labels=tuple(sorted(self.dataset.wrong_labels & tested)),
            translations=describe_translations(self.experiment, self.dataset),
            cells=tuple(
                PlannedCell(
                    base_model=cell.model.name,
                    pattern=cell.pattern.name,
                    target_lang=cell.pattern.target_lang,
                    translate=cell.pattern.translate,
                    trials=_plan_trials(cell.specs),
                    skipped=cell.skipped,
                    note=cell.note,
                    chosen=str(cell.chosen or ""),
                    replaced=_plan_trials(cell.replaced),
                )
                for cell in self.cells
            ),
        )


def expand(prepared: Prepared, rescued: ChosenRates | None = None) -> Grid:
    """Compute every trial of an experiment, without reading or drawing anything.

    Args:
        prepared: The experiment with its rows and base models.
        rescued: Learning rates with which stuck cells run again (rescue.py).

    Raises:
        InputError: Learning rates that were chosen for other data or weights, settings that do not
            fit a base model, or no cell that can exist; all problems of one kind together.
    """
    experiment, dataset = prepared.experiment, prepared.dataset
    if experiment.task.prevalence is not None and len(prepared.dataset.classes) != 2:
        raise InputError(
            f"is the share of one class of two, and the data have "
            f"{len(prepared.dataset.classes)} classes; remove it",
            "task.prevalence",
        )
    if experiment.learning_rates:
        _refuse_other_rates(experiment.learning_rates, prepared)
    cells = [
        _run_again(_make_cell(experiment, model, pattern, dataset), rescued)
        for model in prepared.models
        for pattern in experiment.patterns
    ]
    _refuse_unfit(cells, prepared.dataset)
    for cell in cells:
        for spec in cell.specs[:1]:
            check_class_weights(spec.training.class_weights, prepared.dataset.classes)
    if not any(cell.specs for cell in cells):
        reasons = (f"{c.key}: {c.skipped}" for c in cells)
        raise InputError(["no cell of the grid can exist", *reasons])
    return Grid(experiment, prepared.dataset, tuple(cells), prepared.draws, prepared.held_out)


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


def _make_cell(
    experiment: Experiment, resolved: ResolvedModel, pattern: Pattern, dataset: Dataset
) -> Cell:
    """Make a cell with the settings of the experiment, a search and overrides, in this order."""
    model, method = resolved.model, resolved.method
    source_lang = experiment.task.source_lang
    key = CellKey(model.name, pattern.name)
    applying = tuple(o for o in experiment.overrides if o.match.covers(key) and o.changes(method))
    trained = restrict_pattern(model, pattern, source_lang)
    if trained is None:
        reason = _explain_absence(model, pattern, source_lang)
        return Cell(resolved, pattern, (), reason, applying)
    learning_rate, training, lora = resolved.learning_rate, experiment.training, model.lora
    rates = experiment.learning_rates
    chosen = rates.find(key) if rates else None
    if any(override.learning_rate for override in applying):  # set by hand
        chosen = None
    if chosen:
        learning_rate = chosen.learning_rate
        training = Training.parse(training.model_dump() | chosen.training)
        lora = Lora.parse(lora.model_dump() | chosen.lora)
    for override in applying:
        learning_rate = override.learning_rate or learning_rate
        training = Training.parse(training.model_dump() | override.training)
        lora = Lora.parse(lora.model_dump() | override.lora)
    training = Training.parse(keep_used_training(method, training.model_dump()))
    specs = tuple(
        TrialSpec(
            base_model=model.name,
            base_identity=resolved.identity,
            base_path=resolved.path,
            revision=resolved.revision,
            method=method,
            source_lang=source_lang,
            pattern=trained,
            sampling=experiment.sampling,
            training=training,
            learning_rate=None if method in BASELINES else learning_rate,
            lora=lora if method == "lora" else None,
            embed=model.embed if method == "embed" else None,
            ngram=model.ngram if method == "ngram" else None,
            prompt=model.prompt.restrict(pattern.target_lang) if method == "prompt" else None,
            pad_token=model.pad_token,
            draw_index=draw_index,
            seed=seed,
            data_fingerprint=dataset.fingerprint,
            translations=dataset.translations.fingerprint(trained.direction(source_lang)),
            resources=model.choose_resources(experiment.resources),
        )
        for draw_index, seed in experiment.draws_and_seeds
    )
    return Cell(resolved, pattern, specs, "", applying, chosen)


def _explain_absence(model: BaseModel, pattern: Pattern, source_lang: str) -> str:
    """Explain why a cell cannot exist."""
    if model.method == "prompt" and pattern.translate:
        return f"{model.name} reads no translations and {pattern.name} has some"
    if model.method == "prompt":
        return (
            f"{pattern.name} has {pattern.target_rows} {pattern.target_lang} rows, more than "
            f"prompt.max_shots {model.prompt.max_shots} of {model.name}"
        )
    knows_no = "was not pre-trained on" if model.has_base_model else "does not train on"
    has_no = f"has no {pattern.target_lang} rows to train on"
    if pattern.translate:
        has_no = f"reads {source_lang} texts only"
    return f"{model.name} {knows_no} {source_lang} and {pattern.name} {has_no}"


def _refuse_unfit(cells: Sequence[Cell], dataset: Dataset) -> None:
    """Refuse settings that do not fit the base model or the data of their cell."""
    problems: dict[str, None] = {}
    paired = dataset.table["text_pair"].null_count == 0
    for cell in cells:
        for spec in cell.specs[:1]:
            if spec.prompt:
                lang = spec.pattern.target_lang
                for problem in spec.prompt.problems(lang, dataset.classes, paired=paired):
                    problems[f"base model {cell.model.name!r}: {problem}"] = None
        checkpoint = cell.resolved.checkpoint
        if not checkpoint or not cell.specs:
            continue
        spec = cell.specs[0]
        targets = spec.lora.target_modules if spec.lora else ()
        for problem in checkpoint.problems(targets, spec.training.max_length):
            problems[f"base model {cell.model.name!r}: {problem}"] = None
    if problems:
        raise InputError(problems)


def _run_again(cell: Cell, rescued: ChosenRates | None) -> Cell:
    """Give a cell that was stuck the learning rate that was searched for it.

    The rate applies only to the data, weights and learning rate with which the cell was stuck,
    because with others it may train.
    """
    rate = rescued.find(cell.key) if rescued else None
    if rescued is None or rate is None or not cell.specs:
        return cell
    first = cell.specs[0]
    current = first.data_fingerprint, first.base_identity, first.learning_rate
    if current != (rescued.data_fingerprint, rate.base_identity, rate.instead_of):
        return cell
    specs = tuple(s.tuned(rate.learning_rate, rate.training, rate.lora) for s in cell.specs)
    return replace(cell, specs=specs, rescued=rate, replaced=cell.specs)


def _plan_trials(specs: Sequence[TrialSpec]) -> tuple[PlannedTrial, ...]:
    return tuple(
        PlannedTrial(trial_id=spec.trial_id, seed=spec.seed, draw_index=spec.draw_index)
        for spec in specs
    )
