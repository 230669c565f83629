"""Read the attributions of an experiment: the contributions of tokens to a probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from xlt.analysis.attributions.cell import TARGETS, CellAttributions, add_up_tokens
from xlt.analysis.attributions.units import UNITS
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import Run, has_draws, run_name
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import first_line
from xlt.trainables.results.attributions import Attributions, read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey


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
            cells[key] = add_up_tokens(
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


def _has_classes(table: Any) -> bool:
    """Whether attributions are of more than two classes."""
    return "explained" in table.schema.names
