"""The gate: what a launch needs of the data, and of earlier runs of the experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from xlt.data.audit.registry import CHECKS, audit
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.data.core.user_cache import CacheFile
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.translations import list_directions
from xlt.trainables.results.result import Results

DEPENDENCIES = ("lingua-language-detector", "scikit-learn", "numpy")
"""Packages whose versions can change the findings; the code of the checks itself is hashed."""


def check_data(grid: Grid) -> tuple[Finding, ...]:
    """Audit the data of an experiment, with the rows that its cells use for training and test.

    Findings are cached by data, draws and versions, because a plan is often followed by a run on
    the same rows.
    """
    cache = CacheFile(f"data {_hash_inputs(grid)}", "findings", 1)
    if content := cache.values.get("findings"):
        return tuple(
            Finding(**{**f, "examples": tuple(f["examples"])}) for f in json.loads(content)
        )
    sampling = grid.experiment.sampling
    read = list_directions(grid.experiment)
    used_rows = UsedRows(grid.draws, sampling.train_window, sampling.test_window, read)
    findings = audit(grid.dataset, used_rows)
    cache.keep({"findings": json.dumps([asdict(finding) for finding in findings]).encode()})
    return findings


def refuse_errors(grid: Grid, findings: Sequence[Finding]) -> None:
    """Refuse to launch on data with errors that the experiment does not accept.

    Raises:
        InputError: All such errors, with their remedies.
    """
    accepted = grid.experiment.accept_findings
    errors = [f for f in findings if f.severity == "error" and f.about not in accepted]
    if errors:
        checks = ", ".join(dict.fromkeys(f.about for f in errors))
        raise InputError(
            [
                *(f"{f.about}: {f.message} (e.g. {f.examples[0]}); {f.remedy}" if f.examples
                  else f.sentence for f in errors),
                "`xlt data audit EXPERIMENT` shows all; to launch nevertheless, set "
                f"accept_findings: [{checks}]",
            ],
            "data",
        )  # fmt: skip


def list_data_warnings(findings: Sequence[Finding]) -> tuple[str, ...]:
    """List the lines for below every table: warnings, and errors that were accepted."""
    return tuple(f"data, {f.about}: {f.message}" for f in findings if f.severity != "info")


def _hash_source(module: str) -> str:
    """SHA-256 (hex) of the file of a module, so that a changed check runs again."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"{module} has no file")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def refuse_other_settings(grid: Grid, location: Results) -> None:
    """Refuse an experiment if one of the same name with other settings lies in the location.

    Base models, patterns, seeds, overrides, resources, storage and test languages may change
    between runs, so that an experiment can grow. So may the prevalence, which only reports use.

    Raises:
        InputError: All settings that differ, with both values.
    """
    experiment = grid.experiment
    as_run = location.read_experiment(experiment.name)
    if as_run is None:
        return
    stored = Experiment.from_yaml(*as_run)
    differences = []
    free = {"prevalence", "test_langs"}
    for block in ("task", "sampling", "training"):
        before, now = (getattr(e, block).model_dump(exclude=free) for e in (stored, experiment))
        differences += [
            f"{block}.{key}: {before.get(key)!r} there, {now.get(key)!r} here"
            for key in before | now
            if before.get(key) != now.get(key)
        ]
    if location.read_plan(experiment.name).data_fingerprint != grid.dataset.fingerprint:
        differences.append("data: other rows there than here")
    if differences:
        raise InputError(
            [
                f"an experiment {experiment.name!r} with other settings lies in {location.uri}; "
                "give this one another name (--set name=...) or another --results",
                *differences,
            ]
        )


def _hash_inputs(grid: Grid) -> str:
    """Hash everything that findings depend on."""
    sampling = grid.experiment.sampling
    parts = {
        "data": grid.dataset.fingerprint,
        "draws": [vars(draw) for draw in grid.draws],
        "translations": [
            grid.dataset.translations.fingerprint(direction)
            for direction in list_directions(grid.experiment)
        ],
        "sampling": sampling.model_dump(mode="json"),
        "checks": {name: _hash_source(module) for name, module in CHECKS.items()},
        "finding": _hash_source(Finding.__module__),
        "versions": {name: version(name) for name in DEPENDENCIES},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
