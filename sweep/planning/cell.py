"""A cell of the grid: its settings, its trials, or the reason why it cannot exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xlt.data.core.errors import InputError
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.chosen_rates import ChosenRate, ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.overrides import Override
from xlt.sweep.planning.launch_order import find_members
from xlt.sweep.planning.resolved_models import ResolvedModel
from xlt.trainables.models.base_models import BaseModel
from xlt.trainables.spec.adapters import Lora, Peft
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.methods import BASELINES, KeepModels, keep_used_training, keeps_model
from xlt.trainables.spec.row_weights import check_loss_weights
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec

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
        serves: All patterns that train on the same rows; the trials are tested in the target
            language of each.
    """

    resolved: ResolvedModel
    pattern: Pattern
    specs: tuple[TrialSpec, ...]
    skipped: str
    overrides: tuple[Override, ...]
    chosen: ChosenRate | None = None
    rescued: ChosenRate | None = None
    replaced: tuple[TrialSpec, ...] = ()
    serves: tuple[Pattern, ...] = ()
    without_effect: tuple[str, ...] = ()

    @property
    def model(self) -> BaseModel:
        """The base model as the experiment names it."""
        return self.resolved.model

    @property
    def key(self) -> CellKey:
        """Names of base model and pattern."""
        return CellKey(self.model.name, self.pattern.name)

    @property
    def test_langs(self) -> tuple[str, ...]:
        """Languages in which the trials are tested; empty if that is the target language alone."""
        spec = self.specs[0] if self.specs else None
        return spec.test_langs if spec and spec.sampling.test_langs else ()

    @property
    def note(self) -> str:
        """Footnote for tables: why the settings differ from those of other cells."""
        reasons = [override.why for override in self.overrides if override.why]
        reasons += [f"run again: {self.rescued.why}"] if self.rescued else []
        reasons += [ZERO_SHOT] if self.is_zero_shot else []
        reasons += [self.average] if self.average else []
        return "; ".join(reasons)

    @property
    def average(self) -> str:
        """Phrase that says what a mean of trials averages; empty for cells that are trained."""
        counts = [len(spec.mean_of) for spec in self.specs if spec.mean_of]
        return f"mean of the weights of {counts[0]} trials" if counts else ""

    @property
    def is_zero_shot(self) -> bool:
        """Whether trials are prompts without training rows, so that nothing is random in them."""
        return any(spec.prompt and not spec.pattern.target_rows for spec in self.specs)


def make_cell(
    experiment: Experiment, resolved: ResolvedModel, pattern: Pattern, trained: Pattern | str,
    dataset: Dataset, chosen: ChosenRate | None = None,
) -> Cell:  # fmt: skip
    """Make a cell with the settings of the experiment, a search and overrides, in this order.

    Args:
        experiment: The experiment.
        resolved: The base model.
        pattern: The pattern, as the experiment names it.
        trained: The pattern with the rows that count, or the reason why there is no cell
            (:func:`restrict_patterns`).
        dataset: The rows that trials draw from.
        chosen: The learning rate that a search chose; unused if an override gives one.

    Raises:
        InputError: ``loss_weights`` names a language that no pattern has.
    """
    model, method = resolved.model, resolved.method
    key = CellKey(model.name, pattern.name)
    applying = tuple(o for o in experiment.overrides if o.match.covers(key) and o.changes(method))
    if isinstance(trained, str):
        return Cell(resolved, pattern, (), trained, applying)
    source_lang = experiment.find_source_lang(pattern)
    translations = dataset.translations.fingerprint(*trained.directions(source_lang))
    learning_rate, training, lora, peft = (
        resolved.learning_rate,
        experiment.training.model_dump(),
        model.lora,
        model.peft,
    )
    if any(override.learning_rate for override in applying):  # set by hand
        chosen = None
    if chosen:
        learning_rate = chosen.learning_rate
        training |= chosen.training
        lora = Lora.parse(lora.model_dump() | chosen.lora, f"lora of {key}")
    for override in applying:
        learning_rate = override.learning_rate or learning_rate
        training |= override.training
        lora = Lora.parse(lora.model_dump() | override.lora, f"lora of {key}")
        peft = Peft.parse(peft.model_dump() | override.peft, f"peft of {key}")
    given = Training.parse(keep_used_training(method, training), f"training of {key}")
    langs = dict.fromkeys((*experiment.source_langs, *(p.target_lang for p in experiment.patterns)))
    check_loss_weights(given.loss_weights, langs)
    used = given.drop_without_effect(trained, source_lang)
    named_apart = trained.model_copy(update={"source_lang": None})  # one object for all trials
    trained_by = used.model_copy(update={"average_seeds": False})  # also by those of a mean
    specs = tuple(
        TrialSpec(
            base_model=model.name,
            base_identity=resolved.identity,
            base_path=resolved.path,
            revision=resolved.revision,
            method=method,
            source_lang=source_lang,
            pattern=named_apart,
            sampling=experiment.sampling,
            training=trained_by,
            learning_rate=None if method in BASELINES else learning_rate,
            lora=lora if method == "lora" else None,
            peft=peft if method == "peft" else None,
            embed=model.embed if method == "embed" else None,
            ngram=model.ngram if method == "ngram" else None,
            prompt=model.prompt.restrict(pattern.target_lang) if method == "prompt" else None,
            pad_token=model.pad_token,
            draw_index=draw_index,
            seed=seed,
            data_fingerprint=dataset.fingerprint,
            translations=translations,
            resources=model.choose_resources(experiment.resources),
        )
        for draw_index, seed in experiment.draws_and_seeds
    )
    left = used.model_dump()
    lost = tuple(name for name in given.model_dump() if name not in left)
    applying = tuple(o for o in applying if o.learning_rate or o.lora or {*o.training} - {*lost})
    if given.average_seeds:
        specs = (_make_mean(specs, f"training of {key}"),)
    return Cell(resolved, pattern, specs, "", applying, chosen, without_effect=lost)


def _make_mean(specs: Sequence[TrialSpec], where: str) -> TrialSpec:
    """Make the trial that averages the kept weights of trials.

    Raises:
        InputError: Their heads and adapters start from other values, or there is one trial only.
    """
    first = specs[0]
    if first.training.init_seed is None:
        raise InputError(
            "average_seeds needs init_seed, so that heads and adapters of all seeds start from the "
            "same values; set training.init_seed: 0 for the averaged trials, too",
            where,
        )
    if len(specs) < 2:
        raise InputError("average_seeds has one trial to average; give several seeds", where)
    if first.peft:
        raise InputError(
            "average_seeds cannot average adapters of method peft, whose files hold more than "
            "weights; set another method",
            where,
        )
    if first.lora and first.lora.takes_weights:
        raise InputError(
            "average_seeds cannot average adapters that start from weights of the base model; take "
            "another lora.init_lora_weights",
            where,
        )
    one_process = first.resources.model_copy(update={"workers": 1})
    averaged = tuple((spec.draw_index, spec.seed) for spec in specs)
    return first.model_copy(update={"mean_of": averaged, "resources": one_process})


def run_again(cell: Cell, rescued: ChosenRates, searched: CellKey) -> Cell:
    """Give a cell that was stuck the learning rate that was searched for it.

    The rate applies only to the data, weights and learning rate with which the cell was stuck,
    because with others it may train.

    Args:
        cell: The cell.
        rescued: The searched rates.
        searched: Name of the cell, or of the cell whose trials it averages.
    """
    rate = rescued.find(searched)
    if rate is None or not cell.specs:
        return cell
    first = cell.specs[0]
    current = first.data_fingerprint, first.base_identity, first.learning_rate
    if current != (rescued.data_fingerprint, rate.base_identity, rate.instead_of):
        return cell
    specs = tuple(s.tuned(rate.learning_rate, rate.training, rate.lora) for s in cell.specs)
    return replace(cell, specs=specs, rescued=rate, replaced=cell.specs)


def find_averaged_cells(cells: Sequence[Cell]) -> dict[CellKey, CellKey]:
    """Find the cell whose trials each mean averages; a mean without one is left out."""
    members = find_members([spec for cell in cells for spec in cell.specs])
    if not members:
        return {}
    owner = {spec.trial_id: cell.key for cell in cells for spec in cell.specs}
    return {owner[mean_id]: owner[ids[0]] for mean_id, ids in members.items() if ids}


def share_chosen_rates(
    plain: Sequence[Cell], searched: Sequence[Cell]
) -> Mapping[CellKey, ChosenRate | None]:
    """Give means the learning rates that a search chose for the trials that they average.

    A search tries no rates for means, so without this they would average trials that were not run.

    Args:
        plain: The cells with the settings that they have without a search.
        searched: The same cells with chosen rates.

    Returns:
        The chosen rate of each cell; a mean that has a rate of its own keeps it.
    """
    chosen = {cell.key: cell.chosen for cell in searched}
    averaged = find_averaged_cells(plain)
    return chosen | {mean: chosen[cell] for mean, cell in averaged.items() if chosen[mean] is None}


def leave_out_impossible_means(cells: Sequence[Cell], keep_models: KeepModels) -> list[Cell]:
    """Leave out means of trials that are not in the grid.

    Raises:
        InputError: The averaged trials would not keep their models.
    """
    members = find_members([spec for cell in cells for spec in cell.specs])
    kept = []
    for cell in cells:
        mean = next((spec for spec in cell.specs if spec.mean_of), None)
        if mean and len(members[mean.trial_id]) < len(mean.members):
            why = "averages trials that are not in the grid: a base model with the same settings, "
            kept.append(replace(cell, specs=(), skipped=f"{why}but without average_seeds"))
            continue
        if mean and (keep_models == "best" or not keeps_model(keep_models, mean.method)):
            enough = "adapters" if keeps_model("adapters", mean.method) else "all"
            raise InputError(
                f"is {keep_models}, and {cell.key} averages kept models; set it to {enough}",
                "storage.keep_models",
            )
        kept.append(cell)
    return kept
