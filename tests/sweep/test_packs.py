"""Which trials go into one pack, and a run of packs beside a run of single trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.sweep.backends.packs import AUTO_SIZE, choose_pack_size, make_packs
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.run import run_sweep
from xlt.trainables.spec.packable import compute_pack_key
from xlt.trainables.spec.trial_spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(
        st.tuples(
            st.sampled_from(["llama", "gpt_neox", "bert"]),
            st.sampled_from([8, 24]),
            st.sampled_from([4, 8]),
        ),
        min_size=1,
        max_size=15,
    ),
    size=st.integers(1, 6),
    num_slots=st.integers(1, 4),
)
def test_packs_hold_every_trial_once_and_leave_no_slot_idle(
    drawn: list[tuple[str, int, int]], size: int, num_slots: int, make_spec: MakeSpec
) -> None:
    specs = [
        make_spec(
            name, seed=seed, training={"num_train_epochs": 1, "batch_size": batch_size},
            pattern={"name": "x", "target_lang": "ja", "target_rows": 8, "source_rows": rows},
        )
        for seed, (name, rows, batch_size) in enumerate(drawn)
    ]  # fmt: skip
    packs = make_packs(specs, size, num_slots)
    assert sorted(s.seed for pack in packs for s in pack) == list(range(len(specs)))
    assert all(1 <= len(pack) <= size for pack in packs)
    assert len(packs) >= min(num_slots, len(specs))
    for pack in packs:
        keys = {compute_pack_key(spec) for spec in pack}
        assert len(keys) == 1 and (len(pack) == 1 or None not in keys)
    if size == 1:
        assert [pack[0] for pack in packs] == specs


def test_members_take_about_as_many_steps(make_spec: MakeSpec) -> None:
    rows = [24, 8, 24, 8, 24, 8]
    specs = [
        make_spec(
            seed=seed,
            pattern={"name": "x", "target_lang": "ja", "target_rows": 8, "source_rows": n},
        )
        for seed, n in enumerate(rows)
    ]
    packs = make_packs(specs, 3, num_slots=1)
    assert [[spec.seed for spec in pack] for pack in packs] == [[0, 2, 4], [1, 3, 5]]


def test_auto_packs_on_gpus_only() -> None:
    assert choose_pack_size("auto", has_gpus=True) == AUTO_SIZE
    assert choose_pack_size("auto", has_gpus=False) == choose_pack_size("off", has_gpus=True) == 1
    assert choose_pack_size(4, has_gpus=False) == 4


@pytest.mark.parametrize(("given_value", "expected"), [("off", "off"), ("auto", "auto"), ("3", 3)])
def test_the_field_is_read_as_yaml_writes_it(
    given_value: str, expected: Any, experiment_file: Path
) -> None:
    assert load_experiment(experiment_file, [f"packing={given_value}"]).packing == expected


@pytest.mark.parametrize("value", ["1", "true", "some"])
def test_other_values_are_refused(value: str, experiment_file: Path) -> None:
    with pytest.raises(InputError, match="packing"):
        load_experiment(experiment_file, [f"packing={value}"])


@pytest.mark.parametrize("backend", ["inline", pytest.param("ray", marks=pytest.mark.chaos)])
def test_a_run_of_packs_gives_what_single_trials_give(
    backend: str, small: Experiment, tmp_path: Path
) -> None:
    """The rate of one cell makes it diverge: it fails alone."""
    values = small.model_dump(mode="json") | {"seeds": [0, 1]}
    values["models"] = [model for model in values["models"] if model["method"] == "lora"]
    values["overrides"] = [{"match": {"model": "llama", "pattern": "ja8"}, "learning_rate": 1e30}]
    values["patterns"] = [{p.pop("name"): p} for p in values["patterns"]]
    found = {}
    for packing in ("off", 3):
        experiment = Experiment.parse(values | {"packing": packing})
        where = backend if packing == 3 else "inline"
        outcome = run_sweep(experiment, str(tmp_path / str(packing)), backend=where)
        assert len(outcome.ledger.failed) == 2
        assert all("lower the learning rate" in text for text in outcome.ledger.failed.values())
        found[packing] = outcome
    assert found["off"].ledger.states.keys() == found[3].ledger.states.keys()
    num_packed = []
    for trial_id in found["off"].ledger.done:
        scores = []
        for outcome in found.values():
            folder = Path(outcome.results.path("trials", trial_id))
            scores.append(pq.read_table(folder / "predictions.parquet")["y_score"].to_numpy())
        np.testing.assert_allclose(*scores, atol=1e-5)
        num_packed.append(json.loads((folder / "trial.json").read_text())["execution"]["packed"])
    assert num_packed == [2, 2, 2, 2]
    assert not list((tmp_path / "3" / "checkpoints").glob("*"))
