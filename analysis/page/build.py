"""Build the page: its parts, independent of each other, filled into template.html.jinja."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import Any, TypeVar

from xlt.analysis.boundary.judge_cells import CellBoundary
from xlt.analysis.comparisons.family import FAMILIES
from xlt.analysis.languages.scores import collect_lang_scores
from xlt.analysis.page.certainty import show_comparisons, show_variance
from xlt.analysis.page.details import arrange_trials
from xlt.analysis.page.explained import collect_explained_texts, find_explained, show_explanations
from xlt.analysis.page.languages import plot_languages, show_languages
from xlt.analysis.page.plots import plot_cells
from xlt.analysis.page.rows import RowPool
from xlt.analysis.page.tables import (
    VERDICTS,
    PageTable,
    show_alarms,
    show_boundary,
    show_claims,
    show_classes,
    show_scores,
    write_trials,
)
from xlt.analysis.summary.cost import describe_cost
from xlt.analysis.summary.sentences import summarise
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.status import SIGNS
from xlt.analysis.trials.trial_names import has_draws
from xlt.analysis.uncertainty.intervals import CellIntervals, check_method
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, name_numbers, plain, remove_secrets
from xlt.trainables.metrics.registry import compared_metrics, metric_label, reported_metrics
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import read_texts

Section = TypeVar("Section")
NO_TEXTS = "this experiment keeps no texts (storage.keep_texts)"


@dataclass(frozen=True)
class Watched:
    """A page that is rewritten while trials run.

    Attributes:
        seconds: Seconds between two reloads.
    """

    seconds: int


def render_page(collected: Collected, method: str = "t", watched: Watched | None = None) -> str:
    """Render an experiment as one HTML file.

    The file loads nothing: it contains style, script and data, and its content security policy
    refuses everything else. The same results give the same text. If a part cannot be made, a
    sentence with the reason stands in its place.

    Args:
        collected: The trials.
        method: Method of the intervals, a name in
            ``xlt.analysis.uncertainty.intervals.INTERVALS``.
        watched: Reload of a page that is watched; None: the page does not reload.

    Raises:
        InputError: The method is unknown.
    """
    return fill_template(build_content(collected, method), watched)


def build_content(collected: Collected, method: str = "t") -> dict[str, Any]:
    """Compute the content of the template: headline, tables and the values of the plots."""
    check_method(method)  # a part would only show the error
    collected = _without_secrets(collected)  # footnotes and downloads quote errors
    plan = collected.plan
    metrics = reported_metrics(len(plan.classes))
    intervals = CellIntervals(load_scores(collected), method, collected.prevalence)
    states = Counter(row.state for row in collected.rows)
    langs: list[str] | list[None] = plan.target_langs if len(plan.target_langs) > 1 else [None]
    metric_parts = [
        _part(partial(collect_metric_cells, collected, metric, lang, intervals))
        for lang in langs
        for metric in metrics
    ]
    metric_cells = [cells for cells, _ in metric_parts if cells]
    judged, why_not_judged = _part(partial(show_boundary, collected))
    boundary = (judged[1] if judged else None, why_not_judged)
    claims = _part(partial(show_claims, collected))
    scores = [(cells and show_scores(cells), why) for cells, why in metric_parts]
    if collected.prevalence is not None:
        scores += [_part(partial(show_alarms, collected, intervals, lang)) for lang in langs]
    if len(plan.classes) > 2:
        scores.append(_part(partial(show_classes, collected, intervals.scores)))
    spread = [_part(partial(show_variance, intervals, metric)) for metric in metrics]
    compared = compared_metrics(len(plan.classes))
    comparisons = [
        (metric, by, _part(partial(show_comparisons, collected, intervals.scores, by, metric)))
        for metric in compared
        for by in FAMILIES
    ]
    by_lang = [
        (metric, *_part(partial(collect_lang_scores, collected, metric, method)))
        for metric in compared
        if len(plan.test_langs) > 1 and collected.test_lang is None
    ]
    languages = [
        (metric, (table, ""))
        for metric, own, _ in by_lang
        for table in (show_languages(own) if own else ())
    ]
    texts, why_no_texts = _part(
        partial(read_texts, Results(collected.uri), collected.plan.experiment)
    )
    rows = RowPool(texts or {})
    explained, why_not_explained = _part(partial(find_explained, collected))
    explained_parts: list[tuple[PageTable | None, str]] = [(None, why_not_explained)]
    coloured: tuple[dict[str, Any] | None, str] = (None, "")
    if explained:
        explained_parts = [(table, "") for table in show_explanations(collected, explained)]
        coloured = _part(
            partial(
                collect_explained_texts,
                collected,
                explained,
                "" if texts else why_no_texts or NO_TEXTS,
            )
        )
    parts = (
        boundary, claims, *scores, *spread, *(part for _, _, part in comparisons),
        *(part for _, part in languages), *explained_parts,
    )  # fmt: skip
    shown = [table for table, _ in parts if table]
    return {
        "experiment": plan.experiment,
        "title": first_line(plan.title),
        "facts": _facts(collected),
        "states": [(state, states[state]) for state in SIGNS if states[state]],
        "num_done": states["done"],
        "num_trials": len(collected.rows),
        "summary": _part(partial(summarise, collected, intervals)),
        "verdicts": _counts(judged[0]) if judged else [],
        "boundary": boundary,
        "claims": claims,
        "spread": spread,
        "compared": {metric: metric_label(metric) for metric in compared},
        "comparisons": comparisons,
        "languages": languages,
        "tables": scores,
        "explained": explained_parts if explained or why_not_explained else [],
        "coloured": coloured,
        "warnings": [*collected.warnings, *([why_no_texts] if why_no_texts else [])],
        "data": {
            "experiment": plan.experiment,
            "metrics": {m: metric_label(m) for m in metrics if m in collected.metrics},
            "names": {m: metric_label(m) for m in collected.metrics},
            "positive": first_line(plan.positive),
            "classes": _class_names(collected),
            "languages": {metric: plot_languages(own) for metric, own, _ in by_lang if own},
            "cells": plot_cells(collected, intervals.scores, metric_cells, rows),
            **arrange_trials(collected, rows),
            "rows": rows.rows(),
            "explained": coloured[0],
            "files": {
                **{table.table.name: table.downloads for table in shown},
                "trials": write_trials(collected, metrics),
            },
        },
    }


def fill_template(shown: dict[str, Any], watched: Watched | None = None) -> str:
    """Fill content into the template; texts are escaped, data are compressed JSON in base64."""
    import jinja2

    folder = resources.files("xlt.analysis.page")
    style, script = ((folder / name).read_text("utf-8") for name in ("style.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,  # else: markup
    )  # fmt: skip
    template = environment.from_string((folder / "template.html.jinja").read_text("utf-8"))
    return template.render(
        **shown,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        watch_seconds=watched.seconds if watched else 0,
        packed=_packed(shown["data"]),
    )


def _without_secrets(collected: Collected) -> Collected:
    """Remove secrets from errors and warnings, because the page may be passed on."""
    return replace(
        collected,
        rows=[replace(row, detail=remove_secrets(row.detail)) for row in collected.rows],
        warnings=tuple(map(remove_secrets, collected.warnings)),
    )


def _part(make: Callable[[], Section]) -> tuple[Section | None, str]:
    """Make a part of the page; if this is impossible, return the reason."""
    try:
        return make(), ""
    except InputError as error:
        return None, remove_secrets(str(error))


def _facts(collected: Collected) -> list[tuple[str, str]]:
    """Facts on how the numbers were made, without the location, which may name people."""
    plan = collected.plan
    versions = {k: v for k, v in collected.signature.items() if k != "data_fingerprint"}
    data = plan.data_fingerprint or collected.signature.get("data_fingerprint", "")
    positive = f"; positive: {first_line(plan.positive)}" * (len(plan.classes) == 2)
    facts = {
        "classes": f"{', '.join(map(first_line, plan.classes))}{positive}",
        "draws of training rows": name_numbers(plan.draws) * has_draws(plan.draws),
        "seeds": name_numbers(plan.seeds),
        "data": data[:12],
        **versions,
        "cost": " ".join(describe_cost(collected)),
    }
    return [(name, remove_secrets(value)) for name, value in facts.items() if value]


def _class_names(collected: Collected) -> list[str]:
    """Name of each label; the positive class has the name that the experiment gives it."""
    names = [first_line(name) for name in collected.plan.classes]
    return [names[0], first_line(collected.plan.positive)] if len(names) == 2 else names


def _counts(judged: list[CellBoundary]) -> list[tuple[str, str, list[str]]]:
    """List (verdict, style, cells with this verdict), in the order of the verdicts."""
    counts = [
        (
            kind,
            VERDICTS[kind],
            [_name(cell) for cell in judged if cell.verdict and cell.verdict.word == kind],
        )
        for kind in VERDICTS
    ]
    return [(kind, style, cells) for kind, style, cells in counts if cells]


def _name(cell: CellBoundary) -> str:
    f1 = next(iter(cell.measures.values()))
    return f"{first_line(f1.base_model)} × {first_line(f1.pattern)}"


def _hash(text: str) -> str:
    """Hash by which a content security policy names an inline element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _packed(data: dict[str, Any]) -> str:
    """Deflated JSON in base64, which browsers can decompress and which cannot end an element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()
