"""Attributions beside a trial's other files: written completely, verified, and independent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.trainables.inference.explain_kept import explain_kept
from xlt.trainables.results.attributions import (
    COLUMNS,
    Attributions,
    has_attributions,
    read_attributions,
    save_attributions,
)
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

MakeSpec = Callable[..., TrialSpec]
LIME = Explain(num_samples=64)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: Any, make_spec: MakeSpec, tiny_dataset: Dataset) -> Any:
    """A trial that was explained while it ran, and that kept its adapters."""
    results = Results(str(tmp_path_factory.mktemp("kept")))
    results.prepare()
    spec = make_spec("llama", training={"num_train_epochs": 1, "batch_size": 8})
    result = run_trial(spec, tiny_dataset, keep_models="adapters", explain=LIME)
    results.save(result)
    assert result.attributions is not None
    save_attributions(results, spec.trial_id, result.attributions)
    return results, spec


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_kept_model_is_explained_as_it_was_while_it_ran(
    architecture: str, tmp_path: Path, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    results = Results(str(tmp_path))
    results.prepare()
    spec = make_spec(architecture, training={"num_train_epochs": 1, "batch_size": 8})
    result = run_trial(spec, tiny_dataset, keep_models="all", explain=LIME)
    results.save(result)
    later = explain_kept(spec, tiny_dataset, results, LIME)
    assert result.attributions is not None
    assert result.attributions.error == later.error == ""
    assert later.table.equals(result.attributions.table)
    table = later.table
    assert table.schema.equals(COLUMNS) and len(table) == 20
    assert table["p_original"].to_pylist() == pytest.approx(
        result.predictions["y_score"].to_pylist(), abs=1e-5
    )
    for row in table.to_pylist():
        lengths = {len(row[name]) for name in COLUMNS.names if isinstance(row[name], list)}
        assert len(lengths) == 1
        shown = [row["text"][s:e].strip() for s, e in zip(row["starts"], row["ends"], strict=True)]
        assert shown[0] == row["pieces"][0]


def test_explaining_changes_nothing_of_the_trial(
    kept: Any, make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    results, spec = kept
    plain = run_trial(spec, tiny_dataset)
    assert plain.attributions is None
    assert plain.predictions.equals(results.read_table(spec.trial_id, "predictions"))
    assert results.state(spec.trial_id).state == "done"


def test_what_was_written_is_read(kept: Any) -> None:
    results, spec = kept
    attributions = read_attributions(results, spec.trial_id, "lime")
    assert attributions.settings == LIME.resolved()
    assert attributions.details["hidden_as"] == "<unk>"
    assert has_attributions(results, spec.trial_id, LIME.resolved())
    assert not has_attributions(results, spec.trial_id, Explain(num_samples=65).resolved())
    with pytest.raises(InputError, match=r"no attributions by ig; `xlt explain .* --method ig`"):
        read_attributions(results, spec.trial_id, "ig")


def test_attributions_are_read_from_a_path(kept: Any, tmp_path: Path) -> None:
    results, spec = kept
    table = read_attributions(results.uri, spec.trial_id).table
    assert table.equals(read_attributions(results, spec.trial_id, "lime").table)
    with pytest.raises(InputError, match=str(tmp_path / "missing")):
        read_attributions(str(tmp_path / "missing"), spec.trial_id)


def test_a_changed_table_is_found_and_made_again(kept: Any) -> None:
    results, spec = kept
    file = Path(results.root) / "trials" / spec.trial_id / "attributions-lime.parquet"
    content = file.read_bytes()
    try:
        for damaged in (content[:-1], content[:400] + b"x" + content[401:]):
            file.write_bytes(damaged)
            assert not has_attributions(results, spec.trial_id, LIME.resolved())
            with pytest.raises(InputError, match="changed after they were written"):
                read_attributions(results, spec.trial_id, "lime")
        file.unlink()
        assert not has_attributions(results, spec.trial_id, LIME.resolved())
        assert results.state(spec.trial_id).state == "done"
    finally:
        file.write_bytes(content)


def test_a_damaged_record_is_none(kept: Any) -> None:
    results, spec = kept
    file = Path(results.root) / "trials" / spec.trial_id / "attributions-lime.json"
    content = file.read_bytes()
    for damaged in (b"{", b"[]", b"{}", content.replace(b'"format": 1', b'"format": 99')):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="no attributions by lime"):
            read_attributions(results, spec.trial_id, "lime")
    file.write_bytes(content)


class TestErrorsAreTold:
    def test_of_an_explanation_while_the_trial_goes_on(
        self, tmp_path: Path, make_spec: MakeSpec, tiny_dataset: Dataset
    ) -> None:
        few = Explain(num_samples=2)
        result = run_trial(make_spec("llama"), tiny_dataset, explain=few)
        assert result.metrics
        assert result.attributions is not None
        assert "num_samples 2 is too small" in result.attributions.error
        results = Results(str(tmp_path))
        results.prepare()
        results.save(result)
        save_attributions(results, result.spec.trial_id, result.attributions)
        assert not has_attributions(results, result.spec.trial_id, few.resolved())
        with pytest.raises(InputError, match="not explained by lime: num_samples 2"):
            read_attributions(results, result.spec.trial_id, "lime")

    def test_of_a_trial_that_kept_nothing(
        self, tmp_path: Path, make_spec: MakeSpec, tiny_dataset: Dataset
    ) -> None:
        results = Results(str(tmp_path))
        results.prepare()
        spec = make_spec("llama", training={"num_train_epochs": 1, "batch_size": 8})
        results.save(run_trial(spec, tiny_dataset))
        attributions = explain_kept(spec, tiny_dataset, results, LIME)
        assert attributions.table is None
        assert (
            "kept no model" in attributions.error
            and "storage.keep_models=adapters" in attributions.error
        )

    def test_of_a_trial_that_is_not_done(
        self, tmp_path: Path, make_spec: MakeSpec, tiny_dataset: Dataset
    ) -> None:
        results = Results(str(tmp_path))
        results.prepare()
        attributions = explain_kept(make_spec("llama"), tiny_dataset, results, LIME)
        assert attributions.error == "the trial is absent; `xlt run` finishes it"

    def test_of_weights_that_are_not_the_trials(self, kept: Any, tiny_dataset: Dataset) -> None:
        results, spec = kept
        name = "adapter_model.safetensors"
        file = Path(results.root) / "trials" / spec.trial_id / "model" / name
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        attributions = explain_kept(spec, tiny_dataset, results, LIME)
        file.write_bytes(content)
        assert "was changed after it was written" in attributions.error

    def test_of_a_class_where_there_are_two(
        self, make_spec: MakeSpec, tiny_dataset: Dataset
    ) -> None:
        settings = Explain.parse({"class": "positive"})
        result = run_trial(make_spec("llama"), tiny_dataset, explain=settings)
        assert result.attributions is not None
        assert result.attributions.error == (
            "class: with two classes a token adds to one what it takes from the other, so "
            "positive is explained; remove class, and set --target of `xlt explanations`"
        )


def test_a_record_of_an_error_is_small(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.prepare()
    results.fs.create_dir(results.path("trials", "t"), recursive=True)
    save_attributions(results, "t", Attributions(LIME.resolved(), error="why"))
    assert [p.name for p in (tmp_path / "trials" / "t").iterdir()] == ["attributions-lime.json"]
