"""Test languages of an experiment, and the patterns that one training serves."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import SourceLang
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.models.base_models import BaseModel


def resolve_test_langs(experiment: Experiment, dataset: Dataset) -> Experiment:
    """Name the test languages of an experiment: those that it lists, then other target languages.

    ``all`` becomes the languages in which every class has rows in the window of the test, in
    alphabetical order after the target languages. All cells have these languages, so that all are
    tested on the same rows.
    """
    given = experiment.sampling.test_langs
    if given is None:
        return experiment
    targets = dict.fromkeys(pattern.target_lang for pattern in experiment.patterns)
    langs = dict.fromkeys(given) | targets
    if given == "all":
        langs = targets | dict.fromkeys(_with_every_class(experiment, dataset))
    sampling = experiment.sampling.model_copy(update={"test_langs": tuple(langs)})
    return experiment.model_copy(update={"sampling": sampling})


def _with_every_class(experiment: Experiment, dataset: Dataset) -> Iterable[str]:
    window = experiment.sampling.test_window
    for lang in dataset.by_lang:
        if len({row.label for row in dataset.in_window(lang, window)}) == len(dataset.classes):
            yield lang


def share_training(experiment: Experiment, model: BaseModel) -> dict[Pattern, tuple[Pattern, ...]]:
    """Find the patterns of a base model that train on the same rows.

    With test languages, ja0 and de0 are one training that is tested in both, if their source rows
    are in the same language. Without, each bars
    source rows that occur in its own target language, so their rows may differ. Prompts are not
    shared, because nothing is trained and each is in its own language. A pattern that an override
    names stays apart.

    Returns:
        Pattern that trains -> all patterns that its trials serve, itself among them.
    """
    apart = {override.match.pattern for override in experiment.overrides}
    served: dict[Pattern, list[Pattern]] = {}
    first: dict[tuple[SourceLang | None, int], Pattern] = {}
    for pattern in experiment.patterns:
        trained = pattern
        is_shared = experiment.sampling.test_langs is not None and model.method != "prompt"
        is_zero_shot = not pattern.target_rows and not pattern.translate
        if is_shared and is_zero_shot and pattern.name not in apart:
            trained = first.setdefault((pattern.source_lang, pattern.source_rows), pattern)
        served.setdefault(trained, []).append(pattern)
    return {trained: tuple(patterns) for trained, patterns in served.items()}
