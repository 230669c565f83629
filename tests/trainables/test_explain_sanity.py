"""Explanations depend on what a model learnt (Adebayo et al. 2018, NeurIPS, "Sanity checks")."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from tiny_data import WORDS, make_dataset

from xlt.data.dataset.schema import Dataset
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
POSITIVE, NEGATIVE = WORDS["ja"]


def contrast(spec: TrialSpec, dataset: Dataset) -> float:
    """Mean contribution of the words that make a text positive less that of those that do not."""
    explained = run_trial(spec, dataset, explain=Explain(num_samples=128)).attributions
    assert explained is not None and explained.table is not None, explained
    contributions: dict[bool, list[float]] = {True: [], False: []}
    for row in explained.table.to_pylist():
        word = row["text"].split()[1]  # the label's; the next one is drawn without regard to it
        start = row["text"].index(word)
        own = [
            value
            for value, s, e in zip(row["coefficients"], row["starts"], row["ends"], strict=True)
            if s < start + len(word) and e > start and row["text"][s:e].strip()
        ]
        contributions[word in POSITIVE].append(sum(own))
    return float(np.mean(contributions[True]) - np.mean(contributions[False]))


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_model_that_learnt_other_things_is_explained_otherwise(
    architecture: str, make_spec: MakeSpec
) -> None:
    dataset = make_dataset(num_rows=120)
    rng = np.random.default_rng(0)
    labels = dataset.table["label"].to_numpy().copy()
    train = {"name": "ja80", "target_lang": "ja", "target_rows": 80, "source_rows": 0}
    common = {
        "method": "full", "pattern": train, "learning_rate": 3e-3,
        "training": {"num_train_epochs": 12, "batch_size": 8},
    }  # fmt: skip
    rng.shuffle(labels)
    number = dataset.table.schema.get_field_index("label")
    column = pa.array(labels, pa.int8())
    shuffled = Dataset.from_table(
        dataset.table.set_column(number, dataset.table.schema.field("label"), column)
    )
    learnt, without, untrained = (
        contrast(make_spec(architecture, data_fingerprint=d.fingerprint, **(common | c)), d)
        for d, c in ((dataset, {}), (shuffled, {}), (dataset, {"learning_rate": 1e-9}))
    )
    assert learnt > 0.25
    assert abs(without) < learnt / 2
    assert abs(untrained) < learnt / 5
