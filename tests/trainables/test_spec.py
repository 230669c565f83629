"""trial_id: everything that can change a result, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.errors import InputError
from xlt.trainables.spec.adapters import Lora
from xlt.trainables.spec.cell_key import CellKey
from xlt.trainables.spec.trial_spec import NOT_IN_IDENTITY, TrialSpec

VALUES: dict[str, Any] = {
    "base_model": "elyza",
    "base_identity": "hub:elyza/x@abc",
    "base_path": "elyza/x",
    "revision": "abc",
    "method": "lora",
    "source_lang": "en",
    "pattern": {"name": "ja16", "target_lang": "ja", "target_rows": 16, "source_rows": 1024},
    "sampling": {
        "test_rows": 512,
        "train_window": {"start": "2021-04-01", "end": "2022-04-30"},
        "test_window": {"start": "2022-08-01", "end": "2022-10-31"},
        "draw_seed": 0,
    },
    "training": {
        "lr_schedule": "linear",
        "warmup_ratio": 0.0,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "num_train_epochs": 10,
        "batch_size": 16,
        "max_length": 128,
        "precision": "auto",
    },
    "learning_rate": 5e-4,
    "lora": {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": "all-linear"},
    "draw_index": 0,
    "seed": 0,
    "dev": {"kind": "target", "num_folds": 4, "fold": 1, "repeat": 0},
    "data_fingerprint": "f" * 64,
    "resources": {
        "cpus": 1,
        "gpus": 1.0,
        "workers": 1,
        "sharding": "ddp",
        "micro_batch_size": 4,
        "gradient_checkpointing": False,
        "accelerator_type": "H100",
        "custom_resources": {"disk": 1.0},
        "retries": 2,
        "stall_minutes": 30.0,
    },
}
ADDED_LATER: dict[tuple[str, ...], Any] = {  # not written at their defaults
    ("training", "average", "last_k"): 3,
    ("training", "init_seed"): 7,
    ("mean_of",): [[0, 0], [0, 1]],
    ("lora", "use_rslora"): True,
    ("lora", "use_dora"): True,
    ("lora", "quantize_base"): "nf4",
    ("pad_token",): "<pad>",
    ("pattern", "translate"): "train",
    ("translations",): "t" * 64,
    ("training", "class_weights"): "balanced",
    ("training", "loss_weights"): "balanced",
    ("training", "target_share"): 0.5,
}
BASELINE_SETTINGS: dict[str, dict[str, Any]] = {  # settings of baselines, also added later
    "embed": {"prefix": "query: "},
    "ngram": {"min_n": 2, "max_n": 3},
    "prompt": {
        "templates": {"ja": "{text}: "},
        "label_words": {"ja": {"negative": "no", "positive": "yes"}},
        "instructions": {"ja": "Answer."},
        "max_shots": 16,
        "calibration": "contextual",
        "chat": "off",
        "quantize_base": "nf4",
    },
}
NO_ROWS = {"name": "none", "target_lang": "ja", "target_rows": 0, "source_rows": 0}
OTHER = {  # for values that cannot be changed by a rule
    "method": "full",
    "lr_schedule": "constant",
    "precision": "bf16",
    "target_modules": ["q_proj"],
    "gpus": 0.5,
    "sharding": "fsdp",
    "warmup_ratio": 0.1,
}


def trial_id(values: dict[str, Any]) -> str:
    return TrialSpec.parse(values).trial_id


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


# Under a free name, as ja16 must have 16 ja rows.
FREE = VALUES | {"pattern": VALUES["pattern"] | {"name": "few"}}


def changed(path: tuple[str, ...]) -> dict[str, Any]:
    """FREE with another value at ``path``."""
    values: dict[str, Any] = json.loads(json.dumps(FREE))
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    old = inner[path[-1]]
    if path[-1] in OTHER:
        inner[path[-1]] = OTHER[path[-1]]
    elif path == ("dev", "kind"):
        values["dev"] = {"kind": "source", "rows": 8}
    elif path[-1] in ("start", "end"):
        inner[path[-1]] = old[:-1] + "2" if path[-1] == "start" else old[:-2] + "29"
    elif isinstance(old, str):
        inner[path[-1]] = old + "x"
    elif isinstance(old, bool):
        inner[path[-1]] = not old
    else:
        inner[path[-1]] = old * 2 if old else 2
    if values["method"] == "full":
        values["lora"] = None
    return values


@pytest.mark.parametrize("path", list(leaves(VALUES)), ids=".".join)
def test_a_changed_field_changes_the_id_unless_it_is_listed(path: tuple[str, ...]) -> None:
    same = trial_id(changed(path)) == trial_id(FREE)
    assert same == (path[0] in NOT_IN_IDENTITY)


def test_every_field_is_among_the_values_above() -> None:
    """A new field is in the identity; this makes the test above try it."""
    known = {path[0] for path in [*leaves(VALUES), *ADDED_LATER]} | {"peft", *BASELINE_SETTINGS}
    assert known == set(TrialSpec.model_fields)
    spec = TrialSpec.parse(with_later(*ADDED_LATER))
    dumped = set(leaves(spec.model_dump(mode="json")))
    assert dumped == set(leaves(VALUES)) | set(ADDED_LATER)


def with_later(*paths: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(FREE))
    for path in paths:
        inner = values
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = ADDED_LATER[path]
    return values


@pytest.mark.parametrize("path", list(ADDED_LATER), ids=".".join)
def test_a_field_added_later_changes_the_id_only_where_it_is_set(path: tuple[str, ...]) -> None:
    spec = TrialSpec.parse(with_later(path))
    assert spec.trial_id != trial_id(FREE)
    assert TrialSpec.parse(json.loads(spec.model_dump_json())) == spec
    assert set(leaves(TrialSpec.parse(VALUES).model_dump(mode="json"))) == set(leaves(VALUES))


@given(order=st.permutations(list(VALUES)))
def test_the_order_of_settings_does_not_matter(order: list[str]) -> None:
    assert trial_id({key: VALUES[key] for key in order}) == trial_id(VALUES)


@pytest.mark.parametrize(
    "spelling",
    [
        {"learning_rate": float("0.0005")},
        {"training": VALUES["training"] | {"max_grad_norm": 1, "warmup_ratio": 0}},
        {"training": VALUES["training"] | {"num_train_epochs": 10.0}},
        {"training": {}},
        {"lora": {}},
        {"lora": None},
        {"lora": Lora()},
        {"pattern": {"name": "ja16", "target_lang": "ja", "target_rows": 16}},
    ],
)
def test_spellings_of_one_trial_have_one_id(spelling: dict[str, Any]) -> None:
    assert trial_id(VALUES | spelling) == trial_id(VALUES)


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    """A changed hash orphans every finished trial: raise RESULT_FORMAT when this must change."""
    assert trial_id(VALUES) == "elyza-ja16-dev-target0.1-s0-9e0345007fd7"


@given(name=st.text(min_size=1, max_size=20), seed=st.integers(0, 2**40))
def test_the_id_is_a_file_name(name: str, seed: int) -> None:
    found = trial_id(VALUES | {"base_model": name, "seed": seed})
    assert all(c.isascii() and (c.isalnum() or c in "-.") for c in found)
    assert found.strip(".") and len(found.encode()) < 200


def test_a_spec_survives_json() -> None:
    spec = TrialSpec.parse(VALUES)
    assert TrialSpec.parse(json.loads(spec.model_dump_json())) == spec


BASELINE: dict[str, Any] = VALUES | {"lora": None, "learning_rate": None, "dev": None}


@pytest.mark.parametrize("method", BASELINE_SETTINGS)
def test_settings_of_a_baseline_change_its_id(method: str) -> None:
    values = BASELINE | {"method": method}
    if method == "prompt":
        values["pattern"] = VALUES["pattern"] | {"source_rows": 0}
    settings = BASELINE_SETTINGS[method]
    ids = {trial_id(values | {method: {k: v}}) for k, v in settings.items()} | {trial_id(values)}
    assert len(ids) == 1 + len(settings)
    assert trial_id(values | {method: {}}) == trial_id(values)
    spec = TrialSpec.parse(values | {method: settings})
    assert TrialSpec.parse(json.loads(spec.model_dump_json())) == spec
    assert set(spec.model_dump()) & set(BASELINE_SETTINGS) == {method}
    assert (spec.num_steps, spec.is_baseline) == (0, True)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"method": "embed", "learning_rate": 1e-3}, "method embed has no learning_rate"),
        ({"method": "full"}, "method full needs a learning_rate"),
        ({"method": "ngram", "lora": {}}, "lora settings are given but the method is ngram"),
        ({"method": "ngram", "embed": {}}, "embed settings are given but the method is ngram"),
        ({"method": "ngram", "ngram": {"min_n": 5}}, "min_n 5 is more than max_n 4"),
        ({"method": "prompt"}, "method prompt has no place for source rows; set source_rows to 0"),
        (
            {"method": "ngram", "pattern": NO_ROWS},
            "none: has no training rows; set source_rows or target_rows",
        ),
    ],
)
def test_settings_that_contradict_a_method_are_refused(values: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        TrialSpec.parse(BASELINE | values)


def test_full_fine_tuning_with_adapters_is_a_contradiction() -> None:
    with pytest.raises(InputError, match="lora settings are given but the method is full"):
        TrialSpec.parse(VALUES | {"method": "full"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", 0.0), ("learning_rate", "5e-4"), ("method", "prefix"), ("sed", 1)],
)
def test_a_wrong_value_is_told_by_name(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        TrialSpec.parse(VALUES | {field: value})


def test_the_most_test_rows_are_those_of_the_languages_or_the_dev_rows() -> None:
    sampling = VALUES["sampling"] | {"test_rows": 20, "test_langs": ["ja", "de"]}
    tested = VALUES | {"sampling": sampling}
    assert TrialSpec.parse(tested | {"dev": None}).max_test_rows == 40
    assert TrialSpec.parse(tested | {"dev": {"kind": "source", "rows": 6}}).max_test_rows == 6
    assert TrialSpec.parse(tested).max_test_rows == 4  # a quarter of 16 target rows


def test_num_steps_counts_the_last_small_batch() -> None:
    assert TrialSpec.parse(VALUES | {"dev": None}).num_steps == 65 * 10
    assert TrialSpec.parse(VALUES).num_steps == 65 * 10  # 1024 + 12 rows
    sixteen = VALUES["pattern"] | {"source_rows": 0}
    assert TrialSpec.parse(VALUES | {"pattern": sixteen}).num_steps == 10


def test_cell_keys_sort_print_and_parse() -> None:
    key = CellKey("hub/elyza", "ja16")
    assert str(key) == f"{key}" == "hub/elyza x ja16"
    assert key.path == "hub/elyza/ja16"
    assert CellKey.parse(key.path) == key == TrialSpec.parse(VALUES | {"base_model": key[0]}).cell
    assert sorted([key, CellKey("a", "ja9"), CellKey("a", "ja0")])[0] == ("a", "ja0")
    for text in ("elyza", "/ja0", "elyza/", ""):
        with pytest.raises(InputError, match=r"write base model/pattern, e\.g\. elyza/ja0"):
            CellKey.parse(text)
