"""The rows of a pattern on which a base model trains, or the reason why it has no such cell."""

from __future__ import annotations

from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.source_langs import SourceLang, join_source_langs, list_source_langs
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.test_langs import share_training
from xlt.trainables.models.base_models import BaseModel


def restrict_patterns(experiment: Experiment, model: BaseModel) -> dict[Pattern, Pattern | str]:
    """Restrict the patterns that train (:func:`share_training`) to the rows that a model reads.

    Without source rows, en:ja16 and de:ja16 are one training, so only the first one exists, unless
    an override names the other.

    Returns:
        Pattern -> the pattern with the rows that count, or the reason why it has no cell.
    """
    apart = {override.match.pattern for override in experiment.overrides}
    trained: dict[Pattern, Pattern | str] = {}
    first: dict[tuple[str, int], Pattern] = {}
    for pattern in share_training(experiment, model):
        read = restrict_pattern(model, pattern, experiment.find_source_lang(pattern))
        if isinstance(read, Pattern) and not (read.source_rows or read.translate):
            same = first.setdefault((read.target_lang, read.target_rows), pattern)
            if pattern.source_lang and same != pattern and pattern.name not in apart:
                read = f"{model.name} trains on no source rows, so this is {same.name}"
        trained[pattern] = read
    return trained


def restrict_pattern(model: BaseModel, pattern: Pattern, source_lang: SourceLang) -> Pattern | str:
    """Restrict a pattern to the rows on which a base model trains.

    A monolingual base model trains on target rows only (paper, table 2), and on source rows that
    are translated into the target language. So does a model that knows only some of several source
    languages, because it would train on fewer rows than others. Only target rows stand in prompts,
    which may have none.

    Returns:
        The pattern with the rows that count. Or the reason why there is no cell: no training row is
        left, a prompt has no place for the rows, or a pattern that names its source language has
        source and target rows in one language.
    """
    target_lang, langs = pattern.target_lang, list_source_langs(source_lang)
    if model.method == "prompt":
        max_shots = model.prompt.max_shots
        if pattern.translate:
            return f"{model.name} reads no translations and {pattern.name} has some"
        if max_shots is not None and pattern.target_rows > max_shots:
            return (
                f"{pattern.name} has {pattern.target_rows} {target_lang} rows, more than "
                f"prompt.max_shots {max_shots} of {model.name}"
            )
        return pattern.model_copy(update={"source_rows": 0})
    unknown = [lang for lang in langs if not model.knows(lang)]
    if not unknown:
        is_one_language = pattern.source_rows and target_lang in langs
        if pattern.source_lang and is_one_language and (pattern.target_rows or pattern.translate):
            return (
                f"source and target rows of {pattern.name} would be in one language, {target_lang}"
            )
        return pattern
    knows_no = "was not pre-trained on" if model.has_base_model else "does not train on"
    why = f"{model.name} {knows_no} {' and '.join(unknown)} and {pattern.name}"
    if pattern.translate == "test":
        return f"{why} reads {join_source_langs(source_lang)} texts only"
    if pattern.translate:
        return pattern.model_copy(update={"translate": "train"})
    if not pattern.target_rows:
        return f"{why} has no {target_lang} rows to train on"
    return pattern.model_copy(update={"source_rows": 0})


def describe_source_langs(experiment: Experiment) -> list[str]:
    """Describe the source languages of an experiment whose patterns name them."""
    if not experiment.names_source_langs:
        return []
    langs = experiment.source_langs
    return [f"Source rows in {len(langs)} languages ({', '.join(langs)})"]


def describe_source_rows(model: BaseModel, trained: Pattern, source_lang: SourceLang) -> str:
    """Describe how several source languages share the source rows; empty for one language.

    Args:
        model: The base model.
        trained: The pattern with the rows that count.
        source_lang: Language of the source rows, or several.
    """
    langs = list_source_langs(source_lang)
    if len(langs) == 1 or model.method == "prompt":
        return ""
    if trained.source_rows:
        return f"source rows divided evenly over {', '.join(langs)}"
    unknown = " and ".join(lang for lang in langs if not model.knows(lang))
    return f"no source rows, because the model does not know {unknown}"
