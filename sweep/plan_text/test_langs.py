"""Sentences of a plan on the languages in which trials are tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xlt.data.core.text import first_few
from xlt.data.dataset.patterns import Pattern
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.source_langs import SourceLang
from xlt.sweep.experiment.experiment import Experiment


def describe_test_langs(experiment: Experiment, dataset: Dataset, test: Iterable[str]) -> list[str]:
    """Describe in which languages trials are tested, and on how many rows.

    Without test languages, say which patterns would be one training with them.

    Args:
        experiment: The experiment with resolved test languages.
        dataset: The rows of the experiment.
        test: Ids of all test rows.
    """
    sampling = experiment.sampling
    if sampling.test_langs is None:
        return _describe_repeated_training(experiment)
    counts = Counter(dataset.rows(sorted(test))["lang"].to_pylist())
    fewer = [f"{lang} ({counts[lang]})" for lang in sampling.test_langs
             if counts[lang] < sampling.test_rows]  # fmt: skip
    short = f"; fewer than {sampling.test_rows} in {first_few(fewer)}" if fewer else ""
    langs = f"{len(sampling.test_langs)} languages ({first_few(sampling.test_langs)})"
    return [f"Tested in {langs} on {counts.total():,} rows{short}"]


def _describe_repeated_training(experiment: Experiment) -> list[str]:
    alike: dict[tuple[SourceLang | None, int], list[Pattern]] = {}
    for pattern in experiment.patterns:
        if not pattern.target_rows and not pattern.translate:
            alike.setdefault((pattern.source_lang, pattern.source_rows), []).append(pattern)
    return [
        f"{', '.join(p.name for p in patterns)} train on source rows alone; "
        f"`--set sampling.test_langs=[{','.join(p.target_lang for p in patterns)}]` trains them "
        "once and tests them in each language"
        for patterns in alike.values()
        if len(patterns) > 1
    ]
