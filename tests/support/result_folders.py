"""Result folders for tests: made by hand, so that nothing is trained, or read to be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.data.dataset.patterns import parse_pattern_name
from xlt.trainables.results.plan import Plan, PlannedCell, PlannedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.trial_spec import TrialSpec

FINGERPRINT = "ab" * 32
VERSIONS = {
    "python": "3.12.1",
    "torch": "2.11.0",
    "transformers": "5.17.0",
    "peft": "0.21.0",
    "tokenizers": "0.23.0",
    "scikit-learn": "1.8.0",
    "numpy": "2.4.0",
    "pyarrow": "24.0.0",
    "xlt-sweep": "0.1.0",
}
TRAINED = {
    "first_loss": 0.7,
    "final_loss": 0.2,
    "label_entropy": 0.693,
    "train_auroc": 0.97,
    "auroc_noise": 0.02,
    "score_std": 0.3,
    "first_grad_norm": 2.0,
    "final_grad_norm": 0.5,
}
"""Values of :func:`measure_convergence` for a trial that learnt its rows."""
SIGNATURE: dict[str, Any] = {
    "git_commit": "c" * 40,
    "data_fingerprint": FINGERPRINT,
    "device": "cpu",
    "precision": "fp32",
    "num_threads": 1,
    "base_weights": "w" * 64,
}


def make_spec(base_model: str, pattern: str, seed: int, draw_index: int = 0) -> TrialSpec:
    try:
        trained = parse_pattern_name(pattern).model_dump()
    except InputError:  # a free name
        trained = {"name": pattern, "target_lang": "ja", "target_rows": 16}
    return TrialSpec.parse(
        {
            "base_model": base_model,
            "base_identity": f"test:{base_model}",
            "base_path": "/nowhere",
            "method": "full",
            "source_lang": "en",
            "pattern": trained,
            "sampling": {"test_rows": 10_000},
            "training": {},
            "learning_rate": 5e-5,
            "draw_index": draw_index,
            "seed": seed,
            "data_fingerprint": FINGERPRINT,
        }
    )


def make_plan(
    base_models: Sequence[str] = ("elyza",),
    patterns: Sequence[str] = ("ja16",),
    seeds: Sequence[int] = (0, 1, 2),
    skipped: Mapping[CellKey, str] = {},
    notes: Mapping[CellKey, str] = {},
    draws: Sequence[int] = (0,),
    **fields: Any,
) -> Plan:
    cells = []
    for model in base_models:
        for pattern in patterns:
            reason = skipped.get(CellKey(model, pattern), "")
            trials = tuple(
                PlannedTrial(
                    trial_id=make_spec(model, pattern, seed, draw).trial_id,
                    seed=seed,
                    draw_index=draw,
                )
                for draw in draws
                for seed in seeds
                if not reason
            )
            cells.append(
                PlannedCell(
                    base_model=model,
                    pattern=pattern,
                    target_lang=make_spec(model, pattern, 0).pattern.target_lang,
                    translate=make_spec(model, pattern, 0).pattern.translate,
                    trials=trials,
                    skipped=reason,
                    note=notes.get(CellKey(model, pattern), ""),
                )
            )
    values = {"experiment": "test", "data_fingerprint": FINGERPRINT, **fields}
    return Plan(cells=tuple(cells), **values)


def make_results(folder: Any, *plans: Plan) -> Results:
    results = Results(str(folder))
    results.prepare()
    for plan in plans:
        results.save_experiment(plan, "name: test\n")
    return results


def save_done(
    results: Results,
    base_model: str,
    pattern: str,
    seed: int,
    metrics: Mapping[str, Any],
    versions: Mapping[str, str] = {},
    predictions: pa.Table | None = None,
    train_rows: pa.Table | None = None,
    history: pa.Table | None = None,
    convergence: Mapping[str, float] = {},
    draw_index: int = 0,
    learning_rate: float = 5e-5,
    execution: Mapping[str, Any] = {},
    **signature: Any,
) -> str:
    """Save a finished trial; keywords replace parts of its signature. Returns the trial id."""
    spec = make_spec(base_model, pattern, seed, draw_index).tuned(learning_rate, {}, {})
    rows = pa.table({"id": ["a"]})
    results.save(
        TrialResult(
            spec=spec,
            metrics=dict(metrics),
            signature={**SIGNATURE, "versions": {**VERSIONS, **versions}, **signature},
            timings={"fit": 1.5},
            execution=dict(execution),
            convergence=TRAINED | dict(convergence),
            predictions=rows if predictions is None else predictions,
            history=rows if history is None else history,
            train_rows=rows if train_rows is None else train_rows,
            model={},
        )
    )
    return spec.trial_id


def save_failed(
    results: Results, base_model: str, pattern: str, seed: int, error: str, draw_index: int = 0
) -> str:
    spec = make_spec(base_model, pattern, seed, draw_index)
    results.save_failure(spec, error, "Traceback ...")
    return spec.trial_id


def trial_files(results: Results) -> dict[str, bytes]:
    """Everything in the trial folders that must not change from run to run."""
    files = {name: results.read("trials", name) for name in results.sizes("trials")}
    for name, content in files.items():
        if name.endswith("trial.json"):
            record = json.loads(content)
            del record["timings"], record["sha256"]
            # Only this field may show that the trial was killed and resumed.
            record["execution"].pop("resumed_at_steps", None)
            files[name] = json.dumps(record).encode()
    return files


def finished(root: Path) -> dict[Path, int]:
    """Finished trials and when they were written."""
    return {p: p.stat().st_mtime_ns for p in root.glob("trials/*/trial.json")}
