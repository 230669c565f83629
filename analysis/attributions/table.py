"""Tables of attributions: top tokens (Table 5), their values, checks, and overlaps of patterns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xlt.analysis.attributions.cell import FLAT, CellAttributions, begin_caption, name_table
from xlt.analysis.attributions.collect import ExperimentAttributions
from xlt.analysis.attributions.evidence import (
    ENOUGH,
    NUM_RESAMPLES,
    Ranking,
    mask_stability,
    rank,
)
from xlt.analysis.attributions.overlap_table import make_overlap_table
from xlt.analysis.tables.paper import (
    MINIATURE_PREFIX,
    MODELS,
    TABLE_5,
    TABLE_5_MODEL,
    find_counterpart,
)
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line

KINDS = ("raw", "normalised")
EXPLAINED_FOR = {"predicted": "its predicted class", "true": "its true class"}
"""Setting ``class`` of explanations -> the class that a text is explained for, in captions."""


def make_attribution_tables(
    collected: Collected,
    attributions: ExperimentAttributions,
    *,
    top: int = 10,
    min_count: int = 5,
) -> list[Table]:
    """Table 5 of each base model, with contributions, checks and overlaps of patterns.

    Args:
        collected: The experiment.
        attributions: Attributions of the experiment.
        top: Number of tokens in a column.
        min_count: Minimal number of texts with a token, as passed to :func:`load_attributions`.

    Raises:
        InputError: ``top`` is not positive.
    """
    if top < 1:
        raise InputError(f"top is {top}; give 1 or more")
    tables = []
    for model in dict.fromkeys(key.base_model for key in attributions.cells):
        cells = {k.pattern: c for k, c in attributions.cells.items() if k.base_model == model}
        ranked = {
            (pattern, kind): rank(cell, getattr(cell, kind), top)
            for pattern, cell in cells.items()
            for kind in KINDS
        }
        gaps = [f"{p}: {gap}" for p, cell in cells.items() for gap in cell.gaps]
        left_out = [
            f"{key.pattern}: {why}"
            for key, why in attributions.left_out.items()
            if key.base_model == model
        ]
        notes = [f"Left out, {first_line(why)}." for why in [*gaps, *left_out]]
        notes += [f"Warning: {warning}." for warning in collected.warnings]
        tables += [
            _tokens(model, cells, ranked, top, min_count, notes),
            _values(model, cells, ranked),
            _checks(model, cells, top),
        ]
        if len(cells) > 1:
            tables.append(make_overlap_table(model, cells, ranked))
    return tables


def _tokens(
    model: str,
    cells: Mapping[str, CellAttributions],
    ranked: Mapping[tuple[str, str], Ranking],
    top: int,
    min_count: int,
    notes: list[str],
) -> Table:
    """The top tokens of each pattern, beside the published ones."""
    cell = next(iter(cells.values()))
    columns = {
        f"{pattern} {kind}": [cells[pattern].tokens[n] for n in ranking.order]
        for (pattern, kind), ranking in ranked.items()
    }
    published = find_counterpart(model) == TABLE_5_MODEL
    if published:
        columns |= {f"paper {pattern}": list(TABLE_5[pattern]) for pattern in TABLE_5}
    depth = max(map(len, columns.values()))
    lines = [
        (str(place + 1), *(c[place] if place < len(c) else "" for c in columns.values()))
        for place in range(min(depth, top))
    ]
    settings = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in cell.settings.items()
        if value is not None and name != "method"
    )
    hidden = cell.hidden_as or "nothing"
    over = f"{len(cell.y_true)} test texts and {len(cell.runs)} runs"
    if cell.explained_class:
        counts = ", ".join(f"{c.num_explained} in {p}" for p, c in cells.items())
        over += (
            f", where a text is explained for this class ({counts}); each is explained for "
            + EXPLAINED_FOR.get(cell.settings.get("class", "predicted"), "this class in all runs")
        )
    caption = (
        f"Table 5. {begin_caption(model, cells)}: tokens with the highest mean contribution by "
        f"{cell.settings['method']}, over {over}.",
        f"Settings: {settings}; hidden tokens become {hidden}. Tokens in fewer than {min_count} "
        "texts are left out.",
        *(
            ["1: and 2: are tokens of the first and the second text of a pair."]
            if cell.is_pair
            else []
        ),
        "raw: contributions as computed. normalised: contributions of each text divided by the sum "
        "of their absolute values, as in LIT.",
    )
    if published:
        notes = [
            f"paper: Table 5, {MODELS[TABLE_5_MODEL].name}, LIME by LIT, on other headlines; "
            "settings and minimum count are not stated."
            + (
                f" {model} is a miniature, not that model: its vocabulary and headlines differ."
                if model.startswith(MINIATURE_PREFIX)
                else ""
            ),
            *notes,
        ]
    return Table(
        name_table("tokens", model, cells), caption, ("rank", *columns), tuple(lines), tuple(notes)
    )


def _values(
    model: str, cells: Mapping[str, CellAttributions], ranked: Mapping[tuple[str, str], Ranking]
) -> Table:
    """The contributions of the top tokens."""
    lines, records = [], []
    for pattern, cell in cells.items():
        raw, other = ranked[pattern, "raw"], ranked[pattern, "normalised"]
        for place, token in enumerate(raw.order.tolist()):
            in_runs = f"{raw.in_runs[token]}/{len(cell.runs)}"
            lines.append(
                (
                    pattern,
                    str(place + 1),
                    cell.tokens[token],
                    str(cell.num_texts_with[token]),
                    _interval(raw, token),
                    _interval(other, token),
                    in_runs,
                )
            )
            record: dict[str, object] = {
                "base_model": model,
                "pattern": pattern,
                **({"class": cell.explained_class} if cell.explained_class else {}),
                "rank": place + 1,
                "token": cell.tokens[token],
                "num_texts": int(cell.num_texts_with[token]),
                "in_runs": int(raw.in_runs[token]),
                "num_runs": len(cell.runs),
            }
            for kind, ranking in zip(KINDS, (raw, other), strict=True):
                record |= {
                    f"{kind}_mean": float(ranking.means[token]),
                    f"{kind}_low": float(ranking.low[token]),
                    f"{kind}_high": float(ranking.high[token]),
                }
            records.append(record)
    return Table(
        name_table("contributions", model, cells),
        (
            f"{begin_caption(model, cells)}: top tokens by raw contribution, with mean and 95 % "
            f"interval over runs and texts ({NUM_RESAMPLES} resamples).",
            "texts: number of texts with the token. runs: number of runs that have the token in "
            "their own list.",
        ),
        ("pattern", "rank", "token", "texts", "raw", "normalised", "runs"),
        tuple(lines),
        records=tuple(records),
    )


def _interval(ranking: Ranking, token: int) -> str:
    low, high = ranking.low[token], ranking.high[token]
    return f"{ranking.means[token]:+.3f} [{low:+.3f}, {high:+.3f}]"


def _checks(model: str, cells: Mapping[str, CellAttributions], top: int) -> Table:
    """Checks of the explanations: flat texts, R^2, number of masks, and faithfulness."""
    lines = []
    for pattern, cell in cells.items():
        stable = mask_stability(cell, top)
        if stable is None:
            masks = "-"
        elif stable.enough == cell.settings["num_samples"]:
            masks = f"{stable.kept:.2f}: enough"
        else:
            needed = f"about {stable.enough}" if stable.enough else "far more"
            masks = f"{stable.kept:.2f}: NOT enough, {needed} would be"
        comprehensive, sufficient, random_c, random_s = cell.faithfulness
        lines.append(
            (
                pattern,
                f"{cell.num_flat}/{cell.num_explained}",
                "-" if np.isnan(cell.r2) else f"{cell.r2:.2f}",
                masks,
                f"{comprehensive:+.3f} ({random_c:+.3f})",
                f"{sufficient:+.3f} ({random_s:+.3f})",
            )
        )
    return Table(
        name_table("checks", model, cells),
        (
            f"{begin_caption(model, cells)}: checks of the explanations.",
            f"flat: explanations whose absolute contributions sum to less than {FLAT}, so that "
            "their normalised contributions are meaningless. R2: median share of the variance over "
            "masks that the explanation accounts for.",
            f"masks: share of the top {top} tokens that two draws of masks have in common; "
            f"{ENOUGH} is enough.",
            "comprehensiveness (high is good), sufficiency (low is good): DeYoung et al. 2020; in "
            "brackets: the same for tokens in random order.",
        ),
        ("pattern", "flat", "R2", "masks", "comprehensiveness", "sufficiency"),
        tuple(lines),
    )
