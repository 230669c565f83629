"""Trials in one of their test languages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xlt.analysis.trials.weigh import describe_weights, weigh
from xlt.data.core.errors import InputError, unknown

if TYPE_CHECKING:
    from xlt.analysis.trials.collect import Collected


def tested_in(collected: Collected, lang: str) -> Collected:
    """Select the cells that were tested in a language, with their metrics in it.

    A cell that serves several patterns has the name of the pattern of this language: the trials of
    ja0 are de0 in German.

    Args:
        collected: The trials with the metrics of their target languages.
        lang: Test language.

    Raises:
        InputError: No cell was tested in this language.
    """
    plan, cells, rows = collected.plan, [], []
    known = plan.test_langs or plan.target_langs
    for planned in plan.cells:
        if (cell := planned.tested_in(lang)) is None:
            continue
        cells.append(cell)
        for row in collected.by_cell[planned.key]:
            row = replace(row, cell=cell.key)
            record = collected.records.get(row.trial_id, {})
            if row.is_done and "metrics_by_lang" in record:
                num_rows = record["test_rows_by_lang"][lang]
                row = replace(row, metrics=record["metrics_by_lang"][lang], num_test_rows=num_rows)
            rows.append(row)
    if not cells:
        raise InputError(unknown("test language", lang, known), "--test-lang")
    plan = plan.model_copy(update={"cells": tuple(cells)})
    tested = replace(collected, plan=plan, rows=tuple(rows), test_lang=lang)
    return tested if collected.prevalence is None else weigh(tested, collected.prevalence)


def describe_test_rows(collected: Collected) -> tuple[str, ...]:
    """Sentences for captions: the test language that was chosen, and weights of test rows."""
    lang = (f"Tested in {collected.test_lang}.",) if collected.test_lang else ()
    return lang + describe_weights(collected.prevalence)


def by_test_lang(collected: Collected) -> list[Collected]:
    """The trials in each test language; as they are if they were tested in one or chosen for it."""
    langs = collected.plan.test_langs
    if collected.test_lang or not langs:
        return [collected]
    return [tested_in(collected, lang) for lang in langs]
