"""Which numbers may stand in one table: a difference between signatures is refused or told."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Rule:
    """How far a key of the signature must agree.

    Attributes:
        key: A key of ``signature`` or of ``signature["versions"]`` in trial.json.
        scope: The trials that are compared with one another.
        refused: Whether a difference is an error; else it is a warning.
        why: The reason, printed with the difference.
    """

    key: str
    scope: Literal["experiment", "base model", "cell"]
    refused: bool
    why: str


_NUMERICS = "other versions compute other numbers"
_OTHER_CODE = "other code may have made the numbers"
RULES = (
    Rule("torch", "experiment", True, _NUMERICS),
    Rule("transformers", "experiment", True, _NUMERICS),
    Rule("peft", "experiment", True, _NUMERICS),
    Rule("tokenizers", "experiment", True, "other versions may split texts into other tokens"),
    Rule("data_fingerprint", "experiment", True, "trials on other data answer another question"),
    Rule("precision", "experiment", True, "bf16 and fp32 round by different amounts"),
    Rule("base_weights", "base model", True, "it is not the same base model"),
    # A seed's last digits may move with these, far below the std over seeds, and base models may
    # be given other hardware on purpose; so told, not refused, and compared within a cell.
    Rule("device", "cell", False, "kernels of other devices add in another order"),
    Rule("num_threads", "cell", False, "other thread counts add in another order"),
    # A commit that only mends a document changes these as much as one that changes the training.
    Rule("git_commit", "experiment", False, _OTHER_CODE),
    Rule("xlt-sweep", "experiment", False, _OTHER_CODE),
    Rule("python", "experiment", False, _OTHER_CODE),
    Rule("scikit-learn", "experiment", False, "it computes the metrics"),
    Rule("numpy", "experiment", False, "it carries the scores"),
    Rule("pyarrow", "experiment", False, "it reads the data"),
)
"""Which trials may stand in one table; a key that is not listed is warned about."""

MAX_NAMED = 6
"""Trials named in a message before it says how many more there are."""


@dataclass(frozen=True)
class Signed:
    """A done trial, as far as signatures are compared.

    Attributes:
        trial_id: Its folder.
        cell: The cell that it belongs to.
        signature: As in trial.json, ``versions`` beside the other keys.
    """

    trial_id: str
    cell: CellKey
    signature: Mapping[str, Any]


_SCOPES: dict[str, Callable[[Signed], str]] = {
    "experiment": lambda trial: "",
    "base model": lambda trial: trial.cell.base_model,
    "cell": lambda trial: str(trial.cell),
}


def compare(
    done: Sequence[Signed], data_fingerprint: str
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Hold the signatures of an experiment's done trials against :data:`RULES`.

    Args:
        done: The trials.
        data_fingerprint: Of the plan; empty: not known.

    Returns:
        What all trials share of the refused keys with the scope experiment, the differences that
        are refused, and those that are allowed, each with the trials that have the rarer values.
    """
    known = {rule.key for rule in RULES}
    others = {key for trial in done for key in trial.signature} - known
    why = "this version does not know the key"
    rules = (*RULES, *(Rule(key, "experiment", False, why) for key in sorted(others)))
    problems: list[str] = []
    warnings: list[str] = []
    for rule in rules:
        groups: dict[str, list[Signed]] = defaultdict(list)
        for trial in done:
            groups[_SCOPES[rule.scope](trial)].append(trial)
        for scope, trials in groups.items():
            difference = _difference(rule.key, trials)
            if difference:
                inside = f"{scope}: " if scope else ""
                told = problems if rule.refused else warnings
                told.append(f"{inside}{difference}; {rule.why}")
    strangers = [t for t in done if t.signature.get("data_fingerprint") != data_fingerprint]
    if data_fingerprint and strangers:
        problems.append(
            f"data_fingerprint is {_short(json.dumps(data_fingerprint))} in the plan but not "
            f"in {_named(strangers)}"
        )
    agreed = [rule.key for rule in RULES if rule.refused and rule.scope == "experiment"]
    first = done[0].signature if done else {}
    shared = {key: str(first[key]) for key in agreed if key in first}
    return shared, tuple(problems), tuple(warnings)


def _difference(key: str, trials: Sequence[Signed]) -> str:
    """How the value of ``key`` differs between trials, the rarer values' trials named, or empty."""
    values = [trial.signature.get(key) for trial in trials]
    if all(value == values[0] and type(value) is type(values[0]) for value in values):
        return ""  # as nearly always, and found without writing thousands of them as JSON
    by_value: dict[str, list[Signed]] = defaultdict(list)
    for trial in trials:
        by_value[json.dumps(trial.signature.get(key), sort_keys=True)].append(trial)
    if len(by_value) < 2:
        return ""
    (value, most), *rest = sorted(by_value.items(), key=lambda item: -len(item[1]))
    parts = [f"{_short(other)} in {_named(few)}" for other, few in rest]
    return f"{key} is {_short(value)} in {len(most)} trial(s) but {' and '.join(parts)}"


def _short(value: str) -> str:
    """A JSON value for people; of a hash the first 12 digits."""
    text = value.strip('"')
    if text == "null":
        return "not recorded"
    return text[:12] if len(text) in (40, 64) and text.isalnum() else text


def _named(trials: Sequence[Signed]) -> str:
    """Trial ids, so many that a line can be read."""
    ids = [trial.trial_id for trial in trials]
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(ids[:MAX_NAMED]) + more
