"""Attributions of an experiment: mean contribution of each token to a probability.

The mean is over all test texts, as in the paper (section 4.3, Table 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlt.analysis.attributions.units import UNITS, Split, name_segments
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import number_stories
from xlt.analysis.trials.trial_names import Run, has_draws, run_name
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.results.attributions import Attributions, read_attributions
from xlt.trainables.results.result import Results
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


@dataclass(frozen=True)
class ExperimentAttributions:
    """Attributions of an experiment.

    Attributes:
        cells: Contributions of cells, in the order of the plan.
        left_out: Why other cells of the requested base models have none.
    """

    cells: Mapping[CellKey, CellAttributions]
    left_out: Mapping[CellKey, str]


def load_each_target(
    collected: Collected, *, method: str = "lime", unit: str = "subword", min_count: int = 5
) -> tuple[dict[str, ExperimentAttributions], dict[str, str]]:
    """Read the attributions of each target that has tables by default; arguments as below.

    Returns:
        Target -> attributions: of positive, or of each class that texts were explained for. And
        class -> reason why it has none, for more than two classes.

    Raises:
        InputError: No target has attributions; the reasons of the first.
    """
    classes = collected.plan.class_names
    about: dict[str, Any] = {"method": method, "unit": unit, "min_count": min_count}
    if len(classes) == 2:
        return {"positive": load_attributions(collected, **about)}, {}
    read, failed = dict[str, ExperimentAttributions](), dict[str, InputError]()
    for name in classes:
        try:
            read[name] = load_attributions(collected, target=name, **about)
        except InputError as error:
            failed[name] = error
    if not read:
        raise failed[classes[0]]
    return read, {name: error.problems[-1] for name, error in failed.items()}


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
        collected: The experiment.
        method: Method of the explanations, a name in ``EXPLAINERS``.
        unit: Name in :data:`UNITS`.
        target: Name in :data:`TARGETS`, or with more than two classes a class.
        min_count: Minimal number of texts with a token, because a mean over a few texts is mostly
            chance.

    Raises:
        InputError: A name is unknown, or there are no attributions; the error gives the reasons.
    """
    plan, classes = collected.plan, collected.plan.class_names
    targets = TARGETS if len(classes) == 2 else classes
    for kind, name, known in (("unit", unit, UNITS), ("target", target, targets)):
        if name not in known:
            raise InputError(unknown(kind, name, known))
    label = None if len(classes) == 2 else classes.index(target)
    langs = {cell.key: collected.test_lang or cell.target_lang for cell in plan.cells}
    splits = {lang: UNITS[unit](lang) for lang in dict.fromkeys(langs.values())}
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
        by_run: dict[Run, Any] = {}
        gaps: list[str] = []
        for trial in cell.trials:
            run = trial.draw_index, trial.seed
            try:
                if not done[trial.trial_id]:
                    raise InputError("the trial is not done")
                attributions = read_attributions(location, trial.trial_id, method)
                if (label is None) == _has_classes(attributions.table):
                    raise InputError("explained for another number of classes; explain it again")
                if len(cell.test_langs) > 1:
                    attributions = _in_language(attributions, langs[key])
                by_run[run] = attributions
            except InputError as error:
                gaps.append(f"{run_name(run, with_draw)}: {first_line(str(error))}")
        if not by_run:
            left_out[key] = gaps[0] if gaps else "no trials planned"
            continue
        split = splits[langs[key]]
        if cell.translate == "test":  # the texts are translations into the source language
            split = UNITS[unit](next(iter(by_run.values())).table["lang"][0].as_py())
        try:
            cells[key] = _cell(
                key, by_run, tuple(gaps), split, target, label, min_count, plan.same_story
            )
        except InputError as error:
            left_out[key] = str(error)
    if not cells:
        reasons = [f"{key}: {why}" for key, why in left_out.items()]
        raise InputError(["no attributions to show", *dict.fromkeys(reasons)], collected.uri)
    return ExperimentAttributions(cells, left_out)


def _in_language(attributions: Attributions, lang: str) -> Attributions:
    """Keep the explanations of rows in a language.

    Raises:
        InputError: None of them is explained.
    """
    table = attributions.table
    assert table is not None  # read_attributions refuses explanations that failed
    table = table.filter(pc.equal(table["lang"], lang))
    if not len(table):
        raise InputError(f"no row in {lang} is explained; `xlt explain --langs {lang}` does it")
    return replace(attributions, table=table)


def _cell(
    key: CellKey,
    by_run: Mapping[Run, Any],
    gaps: tuple[str, ...],
    split: Split,
    target: str,
    label: int | None,
    min_count: int,
    same_story: Sequence[Sequence[str]],
) -> CellAttributions:
    """Add up the contributions in a cell, with a ``label`` those to the probability of a class."""
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


def _has_classes(table: Any) -> bool:
    """Whether attributions are of more than two classes."""
    return "explained" in table.schema.names


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
