"""Scores of every cell in every test language, from the same trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import number_stories
from xlt.analysis.trials.scores import CellScores, load_scores
from xlt.analysis.trials.test_lang import tested_in
from xlt.analysis.uncertainty.few_alarms import check_false_alarms
from xlt.analysis.uncertainty.intervals import CellIntervals, check_method
from xlt.analysis.uncertainty.runs import MetricRuns, Runs, sum_by_story
from xlt.data.core.errors import InputError
from xlt.data.dataset.source_langs import list_source_langs
from xlt.trainables.metrics.registry import selection_metric
from xlt.trainables.results.plan import PlannedCell
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class InLang:
    """A cell in one of its test languages.

    Attributes:
        cell: Mean over runs with its interval, under the cell's name in this language.
        intervals: Intervals and influences in this language.
        metric: Name of the metric.
        scores: Predictions in this language; None: ``why``.
        stories: num_rows numbers of stories, which are the same in all languages.
        why: Reason why the cell has no interval; empty if it has one.
        why_no_difference: Reason why no difference of it is tested; empty if differences are.
    """

    cell: TableCell
    intervals: CellIntervals
    metric: str
    scores: CellScores | None
    stories: NDArray[np.intp]
    why: str
    why_no_difference: str

    @property
    def usable(self) -> CellScores:
        """Predictions for differences; InputError with the reason why there are none."""
        if self.scores is None or self.why_no_difference:
            raise InputError(self.why_no_difference or self.why)
        return self.scores

    @property
    def metric_runs(self) -> MetricRuns:
        """Values and influences of the metric in this language."""
        return self.intervals.runs_of(self.metric)


@dataclass(frozen=True)
class LangCell:
    """A cell with its scores in all languages in which its trials were tested.

    Attributes:
        key: Name of the cell; in some test languages its pattern has other names.
        names: Target language -> name of its pattern there.
        target_lang: Target language of its pattern.
        spec: Spec of one of its done trials; empty without one.
        by_lang: Test language -> scores, in the order of the experiment.
    """

    key: CellKey
    names: Mapping[str, str]
    target_lang: str
    spec: Mapping[str, Any]
    by_lang: Mapping[str, InLang]

    @property
    def source_langs(self) -> tuple[str, ...]:
        """Languages of its source rows; empty if it trains on none, or no trial is done."""
        return tuple(list_source_langs(self.spec["source_lang"])) if self.num_source_rows else ()

    @property
    def source(self) -> str:
        """Languages of its source rows as one text, e.g. en, or en+de."""
        return "+".join(self.source_langs)

    @property
    def in_source(self) -> list[tuple[float, InLang]]:
        """Terms of the mean over its source languages for :func:`add_up`; empty if one lacks."""
        if not set(self.source_langs) <= self.by_lang.keys():
            return []
        return [(1 / len(self.source_langs), self.by_lang[lang]) for lang in self.source_langs]

    @property
    def num_source_rows(self) -> int:
        """Training rows in the source language."""
        return int(self.spec["pattern"]["source_rows"]) if self.spec else 0

    @property
    def num_target_rows(self) -> int:
        """Training rows in the target language."""
        return int(self.spec["pattern"]["target_rows"]) if self.spec else 0

    @property
    def is_translated(self) -> bool:
        """Whether it reads translations."""
        return bool(self.spec and self.spec["pattern"].get("translate"))

    @property
    def trained_langs(self) -> frozenset[str]:
        """Languages of its training rows, those of translations included."""
        with_target = self.num_target_rows or self.is_translated
        return frozenset({*self.source_langs, *([self.target_lang] if with_target else [])})


@dataclass(frozen=True)
class LangScores:
    """The cells of an experiment in several test languages.

    Attributes:
        collected: The trials.
        metric: Name of the metric.
        method: Method of the intervals.
        langs: Test languages.
        cells: Cells with trials, in the order of the plan.
    """

    collected: Collected
    metric: str
    method: str
    langs: tuple[str, ...]
    cells: tuple[LangCell, ...]


def add_up(terms: Sequence[tuple[float, InLang]]) -> Runs:
    """Add the scores of the same trials in several languages, run by run.

    Trials are tested on the rows of all languages together, so the influences of all rows count,
    those of a story together.

    Args:
        terms: Factor and scores of each language.

    Returns:
        Runs over the stories of these languages.

    Raises:
        InputError: No differences are tested in one of the languages, or all rows are of one story.
    """
    runs = [own.metric_runs.by_row(own.usable) * factor for factor, own in terms]
    if any(own.runs != runs[0].runs for own in runs):
        raise InputError("not the same trials in both languages")
    values = np.sum([own.values for own in runs], axis=0)
    influence = np.concatenate([own.influence for own in runs], axis=1)
    _, stories = np.unique(np.concatenate([own.stories for _, own in terms]), return_inverse=True)
    if stories.max() + 1 < len(stories):
        influence = sum_by_story(influence, stories)
    return Runs(values, influence, runs[0].runs)


def collect_lang_scores(
    collected: Collected, metric: str | None = None, method: str = "t"
) -> LangScores:
    """Score every cell in each of its test languages.

    Args:
        collected: The trials, as they are or at a prevalence, in no chosen test language.
        metric: Name of a metric; None: the one by which learning rates are selected.
        method: Method of the intervals.

    Raises:
        InputError: The trials were tested in one language, or the metric or the method is unknown.
    """
    check_method(method)
    metric = metric or selection_metric(len(collected.plan.classes))
    langs = collected.plan.test_langs
    if collected.test_lang is not None:
        raise InputError("one test language was chosen (--test-lang), and this needs several")
    if len(langs) < 2:
        raise InputError(
            "the trials were not tested in several languages; name them in sampling.test_langs, "
            "e.g. `--set sampling.test_langs=[en,ja,de]`, with the source language for its gap to "
            "the others, and `xlt run` again",
            f"results {collected.uri}",
        )
    by_lang: dict[str, Mapping[CellKey, InLang]] = {}
    views = {lang: tested_in(collected, lang) for lang in langs}
    scores = {lang: load_scores(view) for lang, view in views.items()}
    ids = {own.ids: None for view in scores.values() for own in view.cells.values()}
    every = tuple(dict.fromkeys(row_id for own in ids for row_id in own))
    numbers = number_stories(every, collected.plan.same_story) if every else None
    stories = dict(zip(every, np.arange(len(every)) if numbers is None else numbers, strict=True))
    of_rows = {own: np.array([stories[row_id] for row_id in own], np.intp) for own in ids}
    for lang, view in views.items():
        intervals = CellIntervals(scores[lang], method, collected.prevalence)
        table = collect_metric_cells(view, metric, intervals=intervals)
        by_key: dict[CellKey, InLang] = {}
        for cell in table.cells:
            own = scores[lang].cells.get(cell.key)
            why = table.without_interval.get(cell.key, "")
            by_key[cell.key] = InLang(
                cell, intervals, metric, own,
                of_rows[own.ids] if own else np.arange(0), why,
                why or _too_few_alarms(own, metric, collected.prevalence),
            )  # fmt: skip
        by_lang[lang] = by_key
    cells = [
        _make_cell(collected, planned, by_lang)
        for planned in collected.plan.cells
        if planned.trials
    ]
    return LangScores(collected, metric, method, tuple(langs), tuple(cells))


def _too_few_alarms(cell: CellScores | None, metric: str, prevalence: float | None) -> str:
    try:
        if cell:
            check_false_alarms(cell, metric, prevalence)
    except InputError as error:
        return str(error)
    return ""


def _make_cell(
    collected: Collected, planned: PlannedCell, by_lang: Mapping[str, Mapping[CellKey, InLang]]
) -> LangCell:
    done = [row.trial_id for row in collected.by_cell[planned.key] if row.is_done]
    names = {lang: CellKey(planned.base_model, planned.names.get(lang, planned.pattern))
             for lang in planned.test_langs}  # fmt: skip
    return LangCell(
        planned.key,
        planned.names,
        planned.target_lang,
        collected.records[done[0]]["spec"] if done else {},
        {lang: by_lang[lang][key] for lang, key in names.items()},
    )
