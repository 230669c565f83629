"""target_share: source rows once an epoch, target rows evenly repeated, and equal bytes again."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from gloo_group import run_together, run_together_again
from hf_trainer import build_without_dropout
from hypothesis import given
from hypothesis import strategies as st
from killed_trials import have_same_bytes, killed_after, located

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.loading.batching import draw_batches
from xlt.trainables.spec.training import Training
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.training.checkpoints import Checkpoints
from xlt.trainables.training.classification import Classification
from xlt.trainables.trial.run_trial import run_trial
from xlt.trainables.trial.signature import read_versions

MakeSpec = Callable[..., TrialSpec]
NUM_WORKERS = 2
HALF: dict[str, Any] = {
    "num_train_epochs": 2, "batch_size": 7, "target_share": 0.6, "loss_weights": {"ja": 3.0},
}  # fmt: skip
FEW = {"name": "few", "target_lang": "ja", "target_rows": 2, "source_rows": 24}
"""Four of seven rows in a batch are target rows: each of the two stands in it twice."""

shares = st.decimals("0.001", "0.99", places=3).map(float)


@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=300),
    num_target=st.integers(1, 40),
    batch_size=st.integers(1, 40),
    share=shares,
    seed=st.integers(0, 2**63 - 1),
)
def test_each_source_row_once_and_the_share_in_each_batch_to_one_row(
    lengths: list[int], num_target: int, batch_size: int, share: float, seed: int
) -> None:
    num_source = len(lengths)
    training = Training(batch_size=batch_size, target_share=share)
    num_repeated = training.count_target_rows(num_source, num_target)
    num_rows = num_source + num_repeated
    assert num_repeated - 1 < share * num_rows + 1e-6 and num_repeated >= share * num_rows - 1e-6
    rows = [num_source + number % num_target for number in range(num_repeated)]

    def draw() -> list[list[int]]:
        rng = np.random.default_rng(seed)
        return list(draw_batches(lengths + [9] * num_target, batch_size, rng, rows, num_source))

    batches = draw()
    assert len(batches) == training.count_epoch_steps(num_source, num_target)
    assert len(batches) == math.ceil(num_rows / batch_size)
    assert sum(len(batch) != batch_size for batch in batches) <= 1
    drawn = Counter(row for batch in batches for row in batch)
    assert drawn == Counter([*range(num_source), *rows])
    exact = num_repeated / num_rows
    for batch in batches:
        assert abs(sum(row >= num_source for row in batch) - exact * len(batch)) <= 1 + 1e-9
    assert draw() == batches


def test_copies_of_a_row_stand_in_different_batches_and_short_rows_together() -> None:
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(5, 60, 1024).tolist(), *range(5, 53, 3)]
    rows = [1024 + number % 16 for number in range(1024)]
    batches = list(draw_batches(lengths, 16, rng, rows, 1024))
    assert {len(batch) for batch in batches} == {16}
    assert {len(set(batch)) for batch in batches} == {16}
    padded = sum(16 * max(lengths[row] for row in batch) for batch in batches)
    unsorted = sum(
        16 * max(lengths[row] for row in (*range(at, at + 8), *rows[at : at + 8]))
        for at in range(0, 1024, 8)
    )
    used = sum(lengths[row] for batch in batches for row in batch)
    assert padded - used < (unsorted - used) / 2


@pytest.mark.parametrize(("share", "epochs"), [(0.1, 1), (0.1, 5), (0.5, 3), (0.9, 2)])
def test_target_rows_are_used_evenly_at_any_time(
    share: float, epochs: int, make_spec: MakeSpec
) -> None:
    training = {"num_train_epochs": epochs, "batch_size": 8, "target_share": share}
    spec = make_spec("bert", training=training)
    task = Classification(build_without_dropout(spec), [[5]] * 32, [0, 1] * 16, spec)
    batches = list(task.draw_all_batches())
    assert len(batches) == spec.num_steps
    assert batches == list(task.draw_all_batches())
    uses = Counter(row for batch in batches for row in batch)
    assert {uses[row] for row in range(24)} == {epochs}
    of_target = [uses[row] for row in range(24, 32)]
    assert max(of_target) - min(of_target) <= 1
    assert sum(of_target) == epochs * spec.training.count_target_rows(24, 8)


def test_steps_are_those_of_the_formula_and_of_the_history(
    make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    pattern = {"name": "ja16", "target_lang": "ja", "target_rows": 16, "source_rows": 1024}
    for share, steps in ((None, 65), (0.5, 128), (0.1, 72), (0.001, 65)):
        spec = make_spec("bert", pattern=pattern, training={"target_share": share})
        assert spec.num_steps == 10 * steps
        assert steps == math.ceil(1024 / (16 * (1 - (share or 16 / 1040))))
    spec = make_spec("bert", training=HALF, pattern=FEW)
    result = run_trial(spec, tiny_dataset)
    assert result.history["epoch"].to_pylist() == [step / 9 for step in range(1, 19)]
    assert len(result.train_rows) == 26
    assert spec.num_steps == 18
    scores = result.train_rows["y_score"].to_numpy()
    assert len(set(scores.tolist())) > 20 and 0.5 not in scores


def test_a_share_without_both_kinds_of_rows_is_refused(make_spec: MakeSpec) -> None:
    for rows in ({"target_rows": 0}, {"source_rows": 0}):
        with pytest.raises(InputError, match="target_share needs source and target rows"):
            make_spec("bert", training={"target_share": 0.5}, pattern=FEW | rows)


@pytest.mark.parametrize("size", [None, 2])
def test_a_resumed_trial_gives_the_same_bytes(
    size: int | None, make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    """Trained on the rows of a fold of target rows, in whole batches and in passes of two rows."""
    dev = {"kind": "target", "num_folds": 2, "fold": 0}
    resources = {"micro_batch_size": size}
    spec = make_spec("bert", training=HALF, dev=dev, resources=resources)
    undisturbed = run_trial(spec, tiny_dataset, keep_models="all")
    assert (spec.num_target_rows, len(undisturbed.train_rows)) == (4, 28)
    results = located(tmp_path / "results")
    kept = Checkpoints(results, spec.trial_id, 0, read_versions())
    killed_after(11, spec, tiny_dataset, kept, monkeypatch)
    resumed = run_trial(spec, tiny_dataset, keep_models="all", checkpoints=kept)
    assert resumed.execution["resumed_at_steps"] == [11]
    assert have_same_bytes(resumed, undisturbed)


def work(rank: int, folder: str, text: str) -> None:
    dataset = Dataset.from_table(pq.read_table(f"{folder}/rows.parquet"))
    result = run_trial(TrialSpec.parse(json.loads(text)), dataset)
    if rank == 0:
        for table in ("history", "train_rows", "predictions"):
            pq.write_table(getattr(result, table), f"{folder}/{table}.parquet")


@pytest.mark.chaos
def test_two_workers_give_the_result_of_one(
    make_spec: MakeSpec, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    spec = make_spec(
        "llama", training=HALF, pattern=FEW, lora={"lora_dropout": 0.0},
        resources={"workers": NUM_WORKERS}, learning_rate=2e-3,
    )  # fmt: skip
    pq.write_table(tiny_dataset.table, tmp_path / "rows.parquet")
    arguments = (str(tmp_path), spec.model_dump_json())
    run_together_again(lambda: run_together(work, arguments, NUM_WORKERS))
    alone = run_trial(spec, tiny_dataset)
    for table, column in (
        ("history", "loss"), ("train_rows", "y_score"), ("predictions", "y_score"),
    ):  # fmt: skip
        values = pq.read_table(tmp_path / f"{table}.parquet")[column].to_numpy()
        np.testing.assert_allclose(values, getattr(alone, table)[column].to_numpy(), atol=1e-5)
