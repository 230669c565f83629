"""RULES: differences between the signatures of trials that are refused or reported."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xlt.trainables.results.trial_result import NOT_APPLICABLE
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Rule:
    """Requires a key of the signature to be equal for some trials.

    Attributes:
        key: Key of ``signature`` or of ``signature["versions"]`` in trial.json.
        scope: Trials that are compared with each other.
        refused: Whether a difference is an error; otherwise it is a warning.
        why: Reason for the rule, printed after the difference.
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
    # These two change the last digits of a score, far below the standard deviation over seeds, and
    # base models may run on different hardware on purpose. So compare within a cell, and warn.
    Rule("device", "cell", False, "kernels of other devices add in another order"),
    Rule("num_threads", "cell", False, "other thread counts add in another order"),
    # A commit may change only a document, so the next two are no errors.
    Rule("git_commit", "experiment", False, _OTHER_CODE),
    Rule("xlt-sweep", "experiment", False, _OTHER_CODE),
    Rule("python", "experiment", False, _OTHER_CODE),
    Rule("scikit-learn", "experiment", False, "it computes the metrics"),
    Rule("numpy", "experiment", False, "it carries the scores"),
    Rule("pyarrow", "experiment", False, "it reads the data"),
)
"""Rules for trials in one table. A difference in any other key is a warning."""

MAX_NAMED = 6
"""Maximal number of trials that a message names."""


@dataclass(frozen=True)
class Signed:
    """A done trial with its signature.

    Attributes:
        trial_id: Folder of the trial.
        cell: Cell of the trial.
        signature: The signature in trial.json, with ``versions`` at the level of the other keys.
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
    """Compare the signatures of an experiment's done trials by :data:`RULES`.

    Args:
        done: Done trials.
        data_fingerprint: Fingerprint in the plan; empty if it is unknown.

    Returns:
        The common values of keys that must agree in an experiment, a sentence for each refused
        difference, and one for each allowed difference. Sentences name the trials with the rarer
        values.
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
            if trial.signature.get(rule.key) == NOT_APPLICABLE:
                continue
            groups[_SCOPES[rule.scope](trial)].append(trial)
        for scope, trials in groups.items():
            difference = _difference(rule.key, trials)
            if difference:
                inside = f"{scope}: " if scope else ""
                sentences = problems if rule.refused else warnings
                sentences.append(f"{inside}{difference}; {rule.why}")
    strangers = [t for t in done if t.signature.get("data_fingerprint") != data_fingerprint]
    if data_fingerprint and strangers:
        problems.append(
            f"data_fingerprint is {_short(json.dumps(data_fingerprint))} in the plan but not "
            f"in {_named(strangers)}"
        )
    agreed = [rule.key for rule in RULES if rule.refused and rule.scope == "experiment"]
    shared = {}
    for key in agreed:
        values = [trial.signature[key] for trial in done if key in trial.signature]
        if values:
            shared[key] = str(next((v for v in values if v != NOT_APPLICABLE), NOT_APPLICABLE))
    return shared, tuple(problems), tuple(warnings)


def _difference(key: str, trials: Sequence[Signed]) -> str:
    """The values of ``key`` and the trials with the rarer ones; empty if all values are equal."""
    values = [trial.signature.get(key) for trial in trials]
    if all(value == values[0] and type(value) is type(values[0]) for value in values):
        return ""  # the usual case, without writing thousands of values as JSON
    by_value: dict[str, list[Signed]] = defaultdict(list)
    for trial in trials:
        by_value[json.dumps(trial.signature.get(key), sort_keys=True)].append(trial)
    if len(by_value) < 2:
        return ""
    (value, most), *rest = sorted(by_value.items(), key=lambda item: -len(item[1]))
    parts = [f"{_short(other)} in {_named(few)}" for other, few in rest]
    return f"{key} is {_short(value)} in {len(most)} trial(s) but {' and '.join(parts)}"


def _short(value: str) -> str:
    """A JSON value for messages; a hash is cut to 12 digits."""
    text = value.strip('"')
    if text == "null":
        return "not recorded"
    return text[:12] if len(text) in (40, 64) and text.isalnum() else text


def _named(trials: Sequence[Signed]) -> str:
    """The first :data:`MAX_NAMED` trial ids and the number of others."""
    ids = [trial.trial_id for trial in trials]
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(ids[:MAX_NAMED]) + more
