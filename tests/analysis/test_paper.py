"""The published numbers, checked against the paper's prose, and their labels."""

from __future__ import annotations

import pytest

from xlt.analysis.tables.paper import (
    MODELS,
    PATTERNS,
    TABLES,
    find_counterpart,
    find_published,
    label_published,
    write_remarks,
)
from xlt.trainables.models.base_models import BASE_MODELS
from xlt.trainables.spec.cell_key import CellKey


def mean(metric: str, model: str, pattern: str) -> float:
    value = find_published(metric, CellKey(model, pattern))
    assert value is not None
    return value.mean


@pytest.mark.parametrize(
    ("few_shot", "monolingual", "pattern", "difference"),
    [  # differences of F1 as the paper's section 4.2 states them in prose
        ("elyza", "opencalm", "ja16", 0.103),
        ("elyza", "opencalm", "ja104", 0.076),
        ("mbert", "bert-ja", "ja16", 0.080),
        ("mbert", "bert-ja", "ja104", 0.061),
    ],
)
def test_differences_are_those_of_the_papers_prose(
    few_shot: str, monolingual: str, pattern: str, difference: float
) -> None:
    found = mean("f1", few_shot, pattern) - mean("f1", monolingual, pattern)
    assert found == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "mean_sum", "std_sum"),
    [  # sums over all 13 entries, parsed out of the paper's text
        ("f1", 9.406, 0.407),
        ("auroc", 10.950, 0.167),
    ],
)
def test_no_entry_was_mistyped(metric: str, mean_sum: float, std_sum: float) -> None:
    cells = [CellKey(model, pattern) for model in MODELS for pattern in PATTERNS]
    entries = [find_published(metric, cell) for cell in cells]
    values = [entry for entry in entries if entry is not None]
    assert len(values) == 13
    assert sum(v.mean for v in values) == pytest.approx(mean_sum, abs=1e-9)
    assert sum(v.std for v in values) == pytest.approx(std_sum, abs=1e-9)


def test_monolingual_models_have_no_zero_shot_entry() -> None:
    for metric in TABLES:
        for name, model in MODELS.items():
            assert (find_published(metric, CellKey(name, "ja0")) is None) == (
                not model.multilingual
            )


def test_every_published_model_and_its_miniature_can_be_run() -> None:
    for name, model in MODELS.items():
        for row in (name, f"mini-{name}"):
            assert (BASE_MODELS[row].languages == ("ja",)) == (not model.multilingual)
            assert find_counterpart(row) == name


def test_a_label_names_the_papers_model() -> None:
    assert label_published("elyza") == "published (paper's ELYZA)"
    assert label_published("mini-bert-ja") == "published (paper's BERT)"


@pytest.mark.parametrize("row", ["mini-other", "gpt", "ELYZA", "", "mini-"])
def test_other_base_models_have_no_published_row(row: str) -> None:
    assert find_counterpart(row) is None
    assert label_published(row) is None
    assert find_published("f1", CellKey(row, "ja16")) is None


def test_only_the_papers_patterns_and_metrics_have_published_numbers() -> None:
    assert find_published("f1", CellKey("elyza", "ja32")) is None
    assert find_published("accuracy", CellKey("elyza", "ja16")) is None
    assert write_remarks("accuracy", ["elyza"]) == ["The paper has no table of accuracy."]


def test_miniatures_are_told_apart_from_the_papers_models() -> None:
    assert len(write_remarks("f1", ["elyza", "mini-other"])) == 1
    (source, apart) = write_remarks("f1", ["mini-elyza", "llama2", "mini-mbert"])
    assert source.startswith("Published: Table 3 of the paper; 3 runs;")
    assert apart.startswith("mini-elyza, mini-mbert: miniature(s), not the paper's models")
