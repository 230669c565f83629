"""Attributions of an experiment: what each token adds to a probability, on average over texts.

The paper takes the mean of a token's contributions over all test texts (section 4.3, Table 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.attributions.units import UNITS, Split
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import Run, has_draws, run_name
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

Values = NDArray[np.float64]
TARGETS: dict[str, Callable[[Values], Values]] = {
    "positive": lambda scores: np.ones(len(scores)),
    "negative": lambda scores: -np.ones(len(scores)),
    "predicted": lambda scores: np.where(scores >= 0.5, 1.0, -1.0),
}
"""Class that contributions count for -> num_texts signs. Of two classes, what a token adds to one
it takes from the other. ``predicted`` is what LIT shows: a token that speaks against the class
then counts the other way round in half of the texts."""

FLAT = 0.05
"""A text whose contributions add up to less, signs aside, is flat: no token moves its probability.
Divided by that sum its rounding errors would weigh as much as another text's evidence."""


@dataclass(frozen=True)
class CellAttributions:
    """The contributions of a cell, by token.

    Attributes:
        base_model: Of the cell.
        pattern: Of the cell.
        runs: num_runs, those with attributions.
        gaps: Planned runs without, a phrase each.
        settings: Of the explanations.
        hidden_as: What stood for a hidden token; empty: it was deleted.
        tokens: num_tokens, those in at least ``min_count`` texts.
        num_texts_with: num_tokens, texts that a token occurs in.
        y_true: num_texts.
        counts: num_texts x num_tokens occurrences.
        raw: num_runs x num_texts x num_tokens, sums over a text's occurrences.
        normalised: The same, each text divided by the sum of its |contributions|, as LIT shows it.
        variances: num_runs x num_tokens, of the sums of ``raw`` over texts, from other masks.
        num_flat: Explanations below :data:`FLAT`, of num_runs x num_texts.
        r2: Their median R^2; nan where the method has none.
        faithfulness: Means of comprehensiveness and sufficiency, and of both for random rankings.
    """

    base_model: str
    pattern: str
    runs: tuple[Run, ...]
    gaps: tuple[str, ...]
    settings: Mapping[str, Any]
    hidden_as: str
    tokens: tuple[str, ...]
    num_texts_with: NDArray[np.int64]
    y_true: NDArray[np.int8]
    counts: Values
    raw: Values
    normalised: Values
    variances: Values
    num_flat: int
    r2: float
    faithfulness: tuple[float, float, float, float]

    def means(self, sums: Values) -> Values:
        """num_runs x num_tokens means over occurrences, of ``raw`` or ``normalised``."""
        means: Values = sums.sum(axis=1) / self.counts.sum(axis=0)
        return means


@dataclass(frozen=True)
class ExperimentAttributions:
    """The attributions of an experiment.

    Attributes:
        cells: Contributions, in the order of the plan.
        left_out: Why a cell of the requested base models has none.
    """

    cells: Mapping[CellKey, CellAttributions]
    left_out: Mapping[CellKey, str]


def load_attributions(
    collected: Collected,
    *,
    method: str = "lime",
    unit: str = "subword",
    target: str = "positive",
    min_count: int = 5,
) -> ExperimentAttributions:
    """Read the attributions of done trials and add them up by token.

    Args:
        collected: The trials.
        method: Of the explanations.
        unit: A name in :data:`UNITS`.
        target: A name in :data:`TARGETS`.
        min_count: Texts that a token must occur in to be ranked: a mean over two texts is chance.

    Raises:
        InputError: Unknown names, or no attributions at all, with the reasons.
    """
    plan = collected.plan
    for kind, name, known in (("unit", unit, UNITS), ("target", target, TARGETS)):
        if name not in known:
            raise InputError(unknown(kind, name, known))
    splits = {lang: UNITS[unit](lang) for lang in plan.target_langs}
    location = Results(collected.uri)
    with_draw = has_draws(plan.draws)
    done = {row.trial_id: row.is_done for row in collected.rows}
    cells: dict[CellKey, CellAttributions] = {}
    left_out: dict[CellKey, str] = {}
    for cell in plan.cells:
        key = cell.key
        if cell.skipped:
            left_out[key] = first_line(cell.skipped)
            continue
        read: dict[Run, Any] = {}
        gaps: list[str] = []
        for trial in cell.trials:
            run = trial.draw_index, trial.seed
            try:
                if not done[trial.trial_id]:
                    raise InputError("the trial is not done")
                read[run] = read_attributions(location, trial.trial_id, method)
            except InputError as error:
                gaps.append(f"{run_name(run, with_draw)}: {first_line(str(error))}")
        if not read:
            left_out[key] = gaps[0] if gaps else "no trials planned"
            continue
        try:
            cells[key] = _cell(key, read, tuple(gaps), splits[cell.target_lang], target, min_count)
        except InputError as error:
            left_out[key] = str(error)
    if not cells:
        reasons = [f"{key}: {why}" for key, why in left_out.items()]
        raise InputError(["no attributions to show", *dict.fromkeys(reasons)], collected.uri)
    return ExperimentAttributions(cells, left_out)


def _cell(
    key: CellKey,
    read: Mapping[Run, Any],
    gaps: tuple[str, ...],
    split: Split,
    target: str,
    min_count: int,
) -> CellAttributions:
    """Add up the runs of a cell."""
    first = next(iter(read.values()))
    ids = first.table["id"].to_pylist()
    for run, other in read.items():
        if other.settings != first.settings:
            raise InputError(
                f"{run_name(run, run[0] > 0)} was explained with other settings than the first; "
                "run `xlt explain` on the whole cell with the same"
            )
        if other.table["id"].to_pylist() != ids:
            raise InputError(f"{run_name(run, run[0] > 0)} was tested on other rows than the first")
    rows = first.table.select(["text", "pieces", "starts", "ends"]).to_pylist()
    units = [split(row["text"], row["pieces"], row["starts"], row["ends"]) for row in rows]
    texts_with: dict[str, int] = {}
    for named in units:
        for name in set(named):
            texts_with[name] = texts_with.get(name, 0) + 1
    tokens = tuple(sorted(name for name, num in texts_with.items() if num >= min_count))
    if not tokens:
        raise InputError(f"no token is in {min_count} texts or more; lower --min-count")
    place = {name: number for number, name in enumerate(tokens)}
    # One entry a piece of a text: which text, which column; -1: a rare token.
    text_of = np.repeat(np.arange(len(units)), [len(named) for named in units])
    column = np.array([place.get(name, -1) for named in units for name in named])
    counted = column >= 0
    flat_index = text_of[counted] * len(tokens) + column[counted]
    shape = len(units), len(tokens)

    def added(values: Values) -> Values:
        sums = np.bincount(flat_index, weights=values[counted], minlength=shape[0] * shape[1])
        return sums.astype(np.float64).reshape(shape)

    raw, normalised, variances, r2, num_flat = [], [], [], [], 0
    for one in read.values():
        scores = one.table["p_original"].to_numpy()
        signs = TARGETS[target](scores)[text_of]
        pieces = _flat(one.table, "coefficients") * signs
        totals = one.table["total"].to_numpy()
        num_flat += int((totals < FLAT).sum())
        raw.append(added(pieces))
        normalised.append(added(pieces / np.where(totals > 0, totals, 1)[text_of]))
        variances.append(added(_flat(one.table, "standard_errors") ** 2).sum(axis=0))
        r2.append(one.table["r2"].to_numpy(zero_copy_only=False).astype(np.float64))
    # A word is one occurrence however many pieces it has.
    starts_unit = np.array([new for named in units for new in _begins(named)])
    counts = added(starts_unit.astype(np.float64))
    names = ("comprehensiveness", "sufficiency")
    columns = [*names, *(f"random_{name}" for name in names)]
    faith = [
        float(np.mean([one.table[name].to_numpy().mean() for one in read.values()]))
        for name in columns
    ]
    known_r2 = np.concatenate(r2)
    known_r2 = known_r2[~np.isnan(known_r2)]
    return CellAttributions(
        *key,
        runs=tuple(read),
        gaps=gaps,
        settings=first.settings,
        hidden_as=first.details.get("hidden_as") or "",
        tokens=tokens,
        num_texts_with=np.array([texts_with[name] for name in tokens]),
        y_true=first.table["y_true"].to_numpy().astype(np.int8),
        counts=counts,
        raw=np.stack(raw),
        normalised=np.stack(normalised),
        variances=np.stack(variances),
        num_flat=num_flat,
        r2=float(np.median(known_r2)) if len(known_r2) else float("nan"),
        faithfulness=(faith[0], faith[1], faith[2], faith[3]),
    )


def _flat(table: Any, name: str) -> Values:
    """A column of lists, one after the other."""
    values: Values = table[name].combine_chunks().flatten().to_numpy()
    return values


def _begins(named: Sequence[Any]) -> list[bool]:
    """Whether each piece begins its unit; equal neighbours of one unit carry the same object."""
    return [n == 0 or named[n] is not named[n - 1] for n in range(len(named))]
