"""Attributions of a cell: the contribution of each token to a probability, added up over texts.

Means are over all test texts, as in the paper (section 4.3, Table 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlt.analysis.attributions.units import Split, name_segments
from xlt.analysis.trials.scored_rows import number_stories
from xlt.analysis.trials.trial_names import Run, run_name
from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line
from xlt.trainables.spec.cell_key import CellKey

Values = NDArray[np.float64]
TARGETS: dict[str, Callable[[Values], Values]] = {
    "positive": lambda scores: np.ones(len(scores)),
    "negative": lambda scores: -np.ones(len(scores)),
    "predicted": lambda scores: np.where(scores >= 0.5, 1.0, -1.0),
}
"""Target class of contributions -> function of the scores that returns num_texts signs.

With two classes, a contribution to one class is the negative contribution to the other.
``predicted`` is the target of LIT; the sign of a token then depends on the prediction for the
text. With more than two classes a target is a class, and contributions are those of the texts that
were explained for it."""

FLAT = 0.05
"""Sum of absolute contributions below which a text is flat: no token changes its probability.
Normalised contributions of flat texts are mainly rounding errors."""


@dataclass(frozen=True)
class CellAttributions:
    """Contributions of the tokens of a cell.

    Attributes:
        base_model: Table row.
        pattern: Table column.
        runs: num_runs runs that have attributions.
        gaps: One phrase for each planned run without attributions.
        settings: Settings of the explanations.
        hidden_as: Replacement of hidden tokens; empty if they were deleted.
        is_pair: Whether texts are pairs, whose tokens are named by their text: ``1: 炭``.
        tokens: num_tokens tokens that occur in at least ``min_count`` texts.
        num_texts_with: Number of texts in which each token occurs, num_tokens.
        y_true: num_texts labels.
        stories: num_texts numbers of the story that each text belongs to; None: each has its own.
        counts: num_runs x num_texts x num_tokens numbers of occurrences; with two classes 1 x
            num_texts x num_tokens, because every run explains every text for the same class.
        raw: num_runs x num_texts x num_tokens sums of contributions over occurrences.
        normalised: ``raw`` divided by the sum of absolute contributions of the text, as in LIT.
        variances: num_runs x num_tokens variances of the sums of ``raw`` over texts that come from
            the random masks.
        explained_class: Class whose probability is explained, for more than two classes; else
            empty.
        num_explained: Number of explanations: num_runs x num_texts, or those for the class.
        num_flat: Number of flat explanations (:data:`FLAT`).
        r2: Median R^2 of the explanations; nan for a method without R^2.
        faithfulness: Mean comprehensiveness and sufficiency, then both for random rankings.
    """

    base_model: str
    pattern: str
    runs: tuple[Run, ...]
    gaps: tuple[str, ...]
    settings: Mapping[str, Any]
    hidden_as: str
    is_pair: bool
    tokens: tuple[str, ...]
    num_texts_with: NDArray[np.int64]
    y_true: NDArray[np.int8]
    stories: NDArray[np.intp] | None
    counts: Values
    raw: Values
    normalised: Values
    variances: Values
    explained_class: str
    num_explained: int
    num_flat: int
    r2: float
    faithfulness: tuple[float, float, float, float]

    def means(self, sums: Values) -> Values:
        """Mean over occurrences of ``raw`` or ``normalised``, num_runs x num_tokens."""
        means: Values = sums.sum(axis=1) / self.counts.sum(axis=1)
        return means


def begin_caption(model: str, cells: Mapping[str, CellAttributions]) -> str:
    """Begin a caption: the base model, and the class if there are more than two."""
    explained = next(iter(cells.values())).explained_class
    return f"{model}, class {first_line(explained)}" if explained else model


def name_table(kind: str, model: str, cells: Mapping[str, CellAttributions]) -> str:
    """Name a table by its base model, and by the class if there are more than two."""
    return "-".join(filter(None, (kind, model, next(iter(cells.values())).explained_class)))


def add_up_tokens(
    key: CellKey,
    by_run: Mapping[Run, Any],
    gaps: tuple[str, ...],
    split: Split,
    target: str,
    label: int | None,
    min_count: int,
    same_story: Sequence[Sequence[str]],
) -> CellAttributions:
    """Add up the contributions in a cell.

    Args:
        key: Name of the cell.
        by_run: Run -> its :class:`~xlt.trainables.results.attributions.Attributions`; not empty.
        gaps: One phrase for each planned run without attributions.
        split: Function that joins the pieces of a text to units.
        target: Name in :data:`TARGETS`, or with more than two classes a class.
        label: Number of the class ``target``; None with two classes.
        min_count: Minimal number of texts with a token.
        same_story: Groups of ids of rows that tell one story.

    Raises:
        InputError: Runs have other settings or rows than the first, no text is explained for the
            class, or no token is in enough texts.
    """
    first = next(iter(by_run.values()))
    ids = first.table["id"].to_pylist()
    for run, other in by_run.items():
        if other.settings != first.settings:
            raise InputError(
                f"{run_name(run, run[0] > 0)} was explained with other settings than the first; "
                "run `xlt explain` on the whole cell with the same settings"
            )
        if other.table["id"].to_pylist() != ids:
            raise InputError(f"{run_name(run, run[0] > 0)} was tested on other rows than the first")
    is_pair = "segments" in first.table.schema.names
    columns = ["text", "pieces", "starts", "ends", *(["segments"] if is_pair else [])]
    rows = first.table.select(columns).to_pylist()
    units = [split(row["text"], row["pieces"], row["starts"], row["ends"]) for row in rows]
    if is_pair:
        segments = (row["segments"] for row in rows)
        units = [name_segments(*of_text) for of_text in zip(units, segments, strict=True)]
    # With two classes each text is explained in every run for the same class.
    explained = [np.ones(len(ids), bool)]
    if label is not None:
        explained = [_explained(run.table) == label for run in by_run.values()]
        if not any(own.any() for own in explained):
            raise InputError(f"no text was explained for {target}")
    texts_with = _count_texts(units, explained)
    tokens = tuple(sorted(name for name, num in texts_with.items() if num >= max(min_count, 1)))
    if not tokens:
        of_class = "" if label is None else f" of every run that were explained for {target}"
        raise InputError(f"no token is in {min_count} texts or more{of_class}; lower --min-count")
    place = {name: number for number, name in enumerate(tokens)}
    # For each piece of each text: number of the text, and column of the token or -1 if it is rare.
    text_of = np.repeat(np.arange(len(units)), [len(named) for named in units])
    column = np.array([place.get(name, -1) for named in units for name in named])
    counted = column >= 0
    flat_index = text_of[counted] * len(tokens) + column[counted]
    shape = len(units), len(tokens)

    def added(values: Values) -> Values:
        sums = np.bincount(flat_index, weights=values[counted], minlength=shape[0] * shape[1])
        return sums.astype(np.float64).reshape(shape)

    names = ("comprehensiveness", "sufficiency")
    measured = [*names, *(f"random_{name}" for name in names)]
    raw, normalised, variances, r2, faithful = [], [], [], [], []
    num_explained = num_flat = 0
    for run, own in zip(by_run.values(), cycle(explained), strict=False):
        scores = run.table["p_original"].to_numpy()
        signs = TARGETS[target](scores) if label is None else own.astype(np.float64)
        pieces = _flat(run.table, "coefficients") * signs[text_of]
        totals = run.table["total"].to_numpy()
        num_explained += int(own.sum())
        num_flat += int((totals[own] < FLAT).sum())
        raw.append(added(pieces))
        normalised.append(added(pieces / np.where(totals > 0, totals, 1)[text_of]))
        squares = _flat(run.table, "standard_errors") ** 2
        variances.append(added(squares * own[text_of]).sum(axis=0))
        r2.append(run.table["r2"].to_numpy(zero_copy_only=False).astype(np.float64)[own])
        faithful.append([run.table[name].to_numpy()[own].mean() for name in measured])
    # All pieces of a word are one occurrence.
    starts_unit = np.array([new for named in units for new in _begins(named)])
    counts = np.stack([added(starts_unit * own[text_of]) for own in explained])
    faith = np.mean(faithful, axis=0).tolist()
    known_r2 = np.concatenate(r2)
    known_r2 = known_r2[~np.isnan(known_r2)]
    return CellAttributions(
        *key,
        runs=tuple(by_run),
        gaps=gaps,
        settings=first.settings,
        hidden_as=first.details.get("hidden_as") or "",
        is_pair=is_pair,
        tokens=tokens,
        num_texts_with=np.array([texts_with[name] for name in tokens]),
        y_true=first.table["y_true"].to_numpy().astype(np.int8),
        stories=number_stories(ids, same_story),
        counts=counts,
        raw=np.stack(raw),
        normalised=np.stack(normalised),
        variances=np.stack(variances),
        explained_class="" if label is None else target,
        num_explained=num_explained,
        num_flat=num_flat,
        r2=float(np.median(known_r2)) if len(known_r2) else float("nan"),
        faithfulness=(faith[0], faith[1], faith[2], faith[3]),
    )


def _explained(table: Any) -> NDArray[np.int8]:
    """The classes that texts were explained for; num_texts."""
    return np.asarray(table["explained"].to_numpy())


def _count_texts(
    units: Sequence[Sequence[str]], explained: Sequence[NDArray[np.bool_]]
) -> dict[str, int]:
    """Count the texts with each unit, in the run with the fewest of those that are explained."""
    fewest: dict[str, int] = {}
    for number, own in enumerate(explained):
        counts: dict[str, int] = {}
        for named in (units[n] for n in np.flatnonzero(own).tolist()):
            for name in set(named):
                counts[name] = counts.get(name, 0) + 1
        fewest = counts if number == 0 else {k: min(v, counts.get(k, 0)) for k, v in fewest.items()}
    return fewest


def _flat(table: Any, name: str) -> Values:
    """The concatenated lists of a column."""
    values: Values = table[name].combine_chunks().flatten().to_numpy()
    return values


def _begins(named: Sequence[Any]) -> list[bool]:
    """Whether each piece begins a unit; pieces of one unit share one object."""
    return [n == 0 or named[n] is not named[n - 1] for n in range(len(named))]
