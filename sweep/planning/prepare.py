"""Prepare an experiment: read its data, draw its rows and resolve its base models, all once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from xlt.data.core.errors import InputError
from xlt.data.core.stages import enter_stage
from xlt.data.dataset.draws import Draw, draw
from xlt.data.dataset.language_problems import refuse_same_language
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction
from xlt.data.sources.registry import load_dataset
from xlt.sweep.experiment.chosen_rates import ChosenRates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.resolved_models import ResolvedModel, resolve_models
from xlt.sweep.planning.test_langs import resolve_test_langs
from xlt.sweep.planning.trained_rows import restrict_patterns
from xlt.sweep.planning.translations import list_directions


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data, draws and base models, all read once.

    Attributes:
        experiment: The settings, with the names of the test languages.
        dataset: The rows that trials draw from.
        draws: All different sets of rows that cells use.
        held_out: Texts of all test rows, as :func:`text_key` makes them; nothing may be trained on
            them.
        models: The resolved base models, in the order of the experiment.
    """

    experiment: Experiment
    dataset: Dataset
    draws: tuple[Draw, ...]
    held_out: frozenset[str]
    models: tuple[ResolvedModel, ...]

    def with_rates(self, rates: ChosenRates) -> Prepared:
        """Return the experiment with the learning rates that a search chose."""
        return self._change(learning_rates=rates)

    def renamed(self, name: str) -> Prepared:
        """Return the experiment under another name, for a second search."""
        return self._change(name=name)

    def _change(self, **settings: object) -> Prepared:
        """Change settings on which neither rows nor base models depend."""
        return replace(self, experiment=self.experiment.model_copy(update=settings))


def prepare(experiment: Experiment) -> Prepared:
    """Read the data of an experiment, draw the rows of its cells and resolve its base models.

    Rows are drawn to make sure, before a launch, that every cell has enough. The hub is asked for
    commits and small files of base models, see :func:`resolve_models`.

    Raises:
        InputError: Data that cannot be read, patterns that need more rows than there are, or base
            models that cannot be used; all problems of one kind together.
    """
    dataset = load_dataset(experiment.data)
    experiment = resolve_test_langs(experiment, dataset)
    if experiment.explain:
        experiment.explain.check_class(dataset.classes)
    enter_stage("drawing rows")
    draws = _draw_all(experiment, dataset)
    test_ids = {row_id for draw in draws for row_id in draw.test}
    held_out = _collect_texts(dataset, test_ids, list_directions(experiment))
    enter_stage("looking up base models")
    models = resolve_models(experiment, dataset, held_out)
    return Prepared(experiment, dataset, draws, held_out, tuple(models))


def _draw_all(experiment: Experiment, dataset: Dataset) -> tuple[Draw, ...]:
    """Draw every different set of rows once."""
    patterns = {
        (trained, experiment.find_source_lang(trained)): None
        for model in experiment.models
        for trained in restrict_patterns(experiment, model).values()
        if isinstance(trained, Pattern)
    }
    draws: dict[Draw, None] = {}
    problems: dict[str, None] = {}
    for pattern, source_lang in patterns:
        if pattern.source_rows and source_lang == pattern.target_lang and not pattern.source_lang:
            problems[refuse_same_language(pattern)] = None
            continue
        for index in sorted({index for index, _ in experiment.draws_and_seeds}):
            try:
                draws[draw(dataset, source_lang, pattern, experiment.sampling, index)] = None
            except InputError as error:
                problems |= dict.fromkeys(error.problems)
    if problems:
        raise InputError(problems)
    return tuple(draws)


def _collect_texts(dataset: Dataset, ids: set[str], read: Iterable[Direction]) -> frozenset[str]:
    """Collect the texts of rows and their translations, as :func:`text_key` makes them."""
    keys = {row.key for rows in dataset.by_lang.values() for row in rows if row.id in ids}
    for direction in read:
        by_id = dataset.translated_keys.get(direction, {})
        keys |= {by_id[row_id] for row_id in ids & by_id.keys()}
    return frozenset(text for key in keys for text in key.split("\n"))  # both texts of a pair
