"""The page: parts that are made each for itself, filled into page/template.html.jinja."""

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

from xlt.analysis.boundary.measure import CellBoundary
from xlt.analysis.comparisons.family import FAMILIES
from xlt.analysis.page.certainty import COMPARED, family_table, spread_table
from xlt.analysis.page.details import trial_columns
from xlt.analysis.page.explained import explained_tables, explained_texts, find_explained
from xlt.analysis.page.plots import plot_cells
from xlt.analysis.page.rows import RowPool
from xlt.analysis.page.secrets import without_secrets
from xlt.analysis.page.shown import (
    VERDICTS,
    PageTable,
    boundary_table,
    claims_table,
    scores_table,
    trial_files,
)
from xlt.analysis.tables import paper
from xlt.analysis.tables.metric_cells import collect_metric_cells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.trials.status import SIGNS
from xlt.analysis.trials.trial_names import has_draws
from xlt.analysis.uncertainty.intervals import CellIntervals, check_method
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import metric_label, reported_metrics
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import read_texts

Section = TypeVar("Section")
NO_TEXTS = "this experiment keeps no texts (storage.keep_texts)"


@dataclass(frozen=True)
class Watched:
    """A page that is written again while trials run.

    Attributes:
        seconds: After which it loads itself again.
    """

    seconds: int


def render_page(collected: Collected, method: str = "t", watched: Watched | None = None) -> str:
    """An experiment as the text of one HTML file.

    It loads nothing: style, script and data are in it, and its content security policy refuses
    everything else. The same results give the same text. A part that cannot be made is a sentence
    with the reason in its place.

    Args:
        collected: The trials.
        method: Of the intervals, a name in ``xlt.analysis.uncertainty.intervals.INTERVALS``.
        watched: For a page that loads itself again.

    Raises:
        InputError: An unknown method.
    """
    return render(content(collected, method), watched)


def content(collected: Collected, method: str = "t") -> dict[str, Any]:
    """What the template shows: headline, tables and the values of the plots."""
    check_method(method)  # here, because a part would only tell
    collected = _without_secrets(collected)  # footnotes and downloads quote errors, too
    plan = collected.plan
    metrics = reported_metrics(len(plan.classes))
    intervals = CellIntervals(load_scores(collected), method)
    states = Counter(row.state for row in collected.rows)
    langs: list[str] | list[None] = plan.target_langs if len(plan.target_langs) > 1 else [None]
    metric_parts = [
        _part(partial(collect_metric_cells, collected, metric, lang, intervals))
        for lang in langs
        for metric in metrics
    ]
    metric_cells = [cells for cells, _ in metric_parts if cells]
    judged, why_not_judged = _part(partial(boundary_table, collected))
    boundary = (judged[1] if judged else None, why_not_judged)
    claims = _part(partial(claims_table, collected))
    scores = [(cells and scores_table(cells), why) for cells, why in metric_parts]
    spread = [_part(partial(spread_table, intervals, metric)) for metric in paper.TABLES]
    comparisons = [
        (metric, by, _part(partial(family_table, collected, intervals.scores, by, metric)))
        for metric in COMPARED
        for by in FAMILIES
    ]
    texts, why_no_texts = _part(
        partial(read_texts, Results(collected.uri), collected.plan.experiment)
    )
    rows = RowPool(texts or {})
    explained, why_not_explained = _part(partial(find_explained, collected))
    explained_parts: list[tuple[PageTable | None, str]] = [(None, why_not_explained)]
    coloured: tuple[dict[str, Any] | None, str] = (None, "")
    if explained:
        explained_parts = [(one, "") for one in explained_tables(collected, explained)]
        coloured = _part(
            partial(
                explained_texts, collected, explained, "" if texts else why_no_texts or NO_TEXTS
            )
        )
    parts = (
        boundary, claims, *scores, *spread, *(part for _, _, part in comparisons), *explained_parts,
    )  # fmt: skip
    shown = [one for one, _ in parts if one]
    return {
        "experiment": plan.experiment,
        "title": first_line(plan.title),
        "facts": _facts(collected),
        "states": [(state, states[state]) for state in SIGNS if states[state]],
        "num_done": states["done"],
        "num_trials": len(collected.rows),
        "verdicts": _counts(judged[0]) if judged else [],
        "boundary": boundary,
        "claims": claims,
        "spread": spread,
        "compared": {metric: metric_label(metric) for metric in COMPARED},
        "comparisons": comparisons,
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
            "cells": plot_cells(collected, intervals.scores, metric_cells, rows),
            **trial_columns(collected, rows),
            "rows": rows.rows(),
            "explained": coloured[0],
            "files": {
                **{one.table.name: one.downloads for one in shown},
                "trials": trial_files(collected, metrics),
            },
        },
    }


def render(shown: dict[str, Any], watched: Watched | None = None) -> str:
    """The content as HTML; every text escaped, the data as base64 of their compressed JSON."""
    import jinja2

    folder = resources.files("xlt.analysis.page")
    style, script = ((folder / name).read_text("utf-8") for name in ("style.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
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
    """The same trials, with errors and warnings that may be passed on."""
    return replace(
        collected,
        rows=[replace(row, detail=without_secrets(row.detail)) for row in collected.rows],
        warnings=tuple(map(without_secrets, collected.warnings)),
    )


def _part(make: Callable[[], Section]) -> tuple[Section | None, str]:
    """A part of the page, or why there is none."""
    try:
        return make(), ""
    except InputError as error:
        return None, without_secrets(str(error))


def _facts(collected: Collected) -> list[tuple[str, str]]:
    """What the numbers were made with; no location, which may name people and machines."""
    plan = collected.plan
    made = {k: v for k, v in collected.signature.items() if k != "data_fingerprint"}
    data = plan.data_fingerprint or collected.signature.get("data_fingerprint", "")
    facts = {
        "classes": f"{', '.join(map(first_line, plan.classes))}; positive: "
        f"{first_line(plan.positive)}",
        "draws of training rows": ", ".join(map(str, plan.draws)) * has_draws(plan.draws),
        "seeds": ", ".join(map(str, plan.seeds)),
        "data": data[:12],
        **made,
    }
    return [(name, without_secrets(value)) for name, value in facts.items() if value]


def _class_names(collected: Collected) -> list[str]:
    """Of each label; the positive class by what the experiment calls it."""
    names = [first_line(name) for name in collected.plan.classes]
    return [names[0], first_line(collected.plan.positive)] if len(names) == 2 else names


def _counts(judged: list[CellBoundary]) -> list[tuple[str, str, list[str]]]:
    """(verdict, style, cells with it), in the order of the verdicts."""
    found = [
        (
            kind,
            VERDICTS[kind],
            [_name(cell) for cell in judged if cell.gap and cell.gap.kind == kind],
        )
        for kind in VERDICTS
    ]
    return [(kind, style, cells) for kind, style, cells in found if cells]


def _name(cell: CellBoundary) -> str:
    f1 = cell.measures["f1"]
    return f"{first_line(f1.base_model)} × {first_line(f1.pattern)}"


def _hash(text: str) -> str:
    """As a content security policy names an inline element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _packed(data: dict[str, Any]) -> str:
    """JSON as the browser's DecompressionStream takes it, in letters that end no element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()
