"""Results of trials that were tested in several languages, with scores that are made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from result_folders import SIGNATURE, TRAINED, VERSIONS, make_plan, make_results, make_spec
from scipy import special
from simulated_scores import make_cell, predictions

from xlt.analysis.languages.scores import InLang
from xlt.analysis.tables.cells import TableCell
from xlt.analysis.trials.scored_rows import number_stories
from xlt.analysis.trials.scores import ExperimentScores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.trainables.metrics.registry import score
from xlt.trainables.results.plan import Plan
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult

LangRows = tuple[Sequence[str], NDArray[Any], NDArray[Any]]
"""Ids, labels, and num_runs x num_rows scores in a language."""


def make_lang_plan(
    models: Sequence[str] = ("a",), patterns: Sequence[str] = ("ja0",),
    langs: Sequence[str] = ("en", "ja", "de"), seeds: Sequence[int] = (0, 1, 2), **fields: Any,
) -> Plan:  # fmt: skip
    """A plan whose cells are all tested in ``langs``; ja0 serves de0, too, if de is one of them."""
    plan = make_plan(models, patterns, seeds, **fields)
    cells = tuple(
        cell.model_copy(
            update={
                "test_langs": tuple(langs),
                "names": {"de": "de0"} if cell.pattern == "ja0" and "de" in langs else {},
            }
        )
        for cell in plan.cells
    )
    return plan.model_copy(update={"cells": cells})


def save_langs(
    results: Results, model: str, pattern: str, by_lang: Mapping[str, LangRows],
    seeds: Sequence[int] = (0, 1, 2), convergence: Mapping[str, float] = {},
) -> None:  # fmt: skip
    """Save the trials of a cell, one a seed."""
    for number, seed in enumerate(seeds):
        spec = make_spec(model, pattern, seed)
        tables, metrics = [], {}
        for lang, (ids, y_true, scores) in by_lang.items():
            table = predictions(ids, y_true.tolist(), scores[number].tolist())
            tables.append(table.set_column(1, "lang", pa.array([lang] * len(ids))))
            metrics[lang] = score(y_true, scores[number])
        rows = pa.table({"id": ["a"]})
        own = (
            spec.pattern.target_lang if spec.pattern.target_lang in metrics else next(iter(metrics))
        )
        results.save(
            TrialResult(
                spec=spec, metrics=metrics[own], metrics_by_lang=metrics,
                signature={**SIGNATURE, "versions": VERSIONS}, timings={"fit": 1.5},
                convergence=TRAINED | convergence, predictions=pa.concat_tables(tables),
                history=rows, train_rows=rows, model={},
            )
        )  # fmt: skip


def simulate_langs(
    rng: np.random.Generator, separations: Mapping[str, float], num_seeds: int = 3,
    num_items: int = 60, seed_std: float = 0.1, shares_stories: bool = False,
    own_std: float = 0.0,
) -> dict[str, LangRows]:  # fmt: skip
    """Simulate scores of the same trials in several languages, as ``simulated_scores.simulate``.

    Args:
        rng: Source of the draws.
        separations: Language -> distance of the classes on the logit scale.
        num_seeds: Trials.
        num_items: Rows of each language, half of each class.
        seed_std: Deviation of a trial's separation, the same in all languages.
        shares_stories: Whether row k is of one story in all languages.
        own_std: Deviation of a trial's separation in one language alone.
    """
    y_true = np.repeat([0, 1], num_items // 2)
    seeds = seed_std * rng.standard_normal((num_seeds, 1))
    story = rng.standard_normal(num_items)
    by_lang = {}
    for lang, separation in separations.items():
        own = rng.standard_normal(num_items)
        rows = 0.7 * story + np.sqrt(0.64 - 0.49) * own if shares_stories else 0.8 * own
        distance = separation + seeds + own_std * rng.standard_normal((num_seeds, 1))
        logits = distance * y_true + rows + 0.6 * rng.standard_normal((num_seeds, num_items))
        ids = [f"{lang}-{number:05d}" for number in range(num_items)]
        by_lang[lang] = ids, y_true, special.expit(logits - separation / 2)
    return by_lang


def make_in_langs(
    by_lang: Mapping[str, LangRows],
    metric: str = "auroc",
    same_story: Sequence[Sequence[str]] = (),
    name: str = "a",
) -> dict[str, InLang]:
    """Scores in each language without result folders, as ``collect_lang_scores`` gives them."""
    every = [row_id for ids, _, _ in by_lang.values() for row_id in ids]
    numbers = number_stories(every, same_story)
    stories = dict(zip(every, range(len(every)) if numbers is None else numbers, strict=True))
    in_langs = {}
    for lang, (ids, y_true, scores) in by_lang.items():
        cell = replace(make_cell(y_true, scores, name), ids=tuple(ids))
        intervals = CellIntervals(ExperimentScores({cell.key: cell}, {}))
        values = intervals.runs_of(metric).of(cell).values
        shown = TableCell(
            *cell.key, "complete", float(values.mean()), None, len(values), len(values), (), ""
        )
        rows = np.array([stories[row_id] for row_id in ids])
        in_langs[lang] = InLang(shown, intervals, metric, cell, rows, "", "")
    return in_langs


def list_stories(langs: Sequence[str], num_items: int) -> tuple[tuple[str, ...], ...]:
    """Ids of the rows of each story that all languages share."""
    return tuple(tuple(f"{lang}-{number:05d}" for lang in langs) for number in range(num_items))


def make_lang_results(
    folder: Path,
    models: Sequence[str] = ("a", "b", "c"),
    patterns: Sequence[str] = ("ja0", "ja16"),
    langs: Sequence[str] = ("en", "ja", "de", "fr", "zh"),
    num_items: int = 60,
    **fields: Any,
) -> str:
    """Every trial done; en is the easiest language, later base models are better."""
    results = make_results(folder, make_lang_plan(models, patterns, langs, **fields))
    rng = np.random.default_rng(11)
    for place, model in enumerate(models):
        for pattern in patterns:
            separations = {
                lang: 0.8 + 0.6 * place + 0.8 * (lang == "en") + 0.1 * n
                for n, lang in enumerate(langs)
            }
            save_langs(results, model, pattern, simulate_langs(rng, separations, 3, num_items))
    return results.uri
