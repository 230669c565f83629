"""Attributions of more than two classes: tables of each class, and texts on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from explained_results import LIME, Text, attributions
from page_results import keep_texts
from result_folders import make_plan, make_results, save_done

from xlt.analysis.attributions.collect import load_attributions, load_each_target
from xlt.analysis.attributions.evidence import rank
from xlt.analysis.attributions.table import make_attribution_tables
from xlt.analysis.page.explained import collect_explained_texts, find_explained, show_explanations
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.trainables.results.attributions import (
    LATER_COLUMNS,
    Attributions,
    read_attributions,
    save_attributions,
)
from xlt.trainables.results.result import Results

CLASSES = ("waste", "sport", "markets")
TEXTS: list[Text] = [
    (["炭", "目標"], [0.4, -0.1], 0.9),
    (["炭", "株"], [0.2, -0.2], 0.5),
    (["株", "炭"], [0.3, 0.1], 0.8),
    (["株", "目標"], [0.5, 0.1], 0.7),
]
EXPLAINED = ([0, 0, 2, 2], [0, 2, 2, 2])
"""Explained class of each text in two runs."""


def with_classes(table: pa.Table, explained: list[int], predicted: list[int]) -> pa.Table:
    for field, values in zip(LATER_COLUMNS, (explained, predicted), strict=False):
        table = table.append_column(field, pa.array(values, field.type))
    return table


def explain(folder: Path, times: int = 1) -> Results:
    """Two explained runs, with each text several times."""
    plan = make_plan(["elyza"], ["ja16"], [0, 1], classes=CLASSES)
    made = make_results(folder, plan)
    for seed, explained in enumerate(EXPLAINED):
        trial_id = save_done(made, "elyza", "ja16", seed, {"macro_f1": 0.5})
        texts = [(p, [(1 + seed) * v for v in c], s) for p, c, s in TEXTS]
        table = with_classes(attributions(texts * times), explained * times, explained * times)
        save_attributions(made, trial_id, Attributions(LIME, table, {"hidden_as": "<unk>"}))
    return made


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return explain(tmp_path / "r")


def test_means_of_a_class_are_over_the_texts_that_it_is_explained_for(results: Results) -> None:
    """By hand: of class markets the first run has texts 2 and 3, the second also text 1."""
    collected = collect(results)
    cell = load_attributions(collected, min_count=1, target="markets").cells["elyza", "ja16"]
    assert cell.explained_class == "markets" and cell.num_explained == 5
    assert cell.tokens == ("株", "炭", "目標")
    assert cell.num_texts_with.tolist() == [2, 1, 1]  # in the run with the fewest
    first = [(0.3 + 0.5) / 2, 0.1, 0.1]
    second = [2 * (-0.2 + 0.3 + 0.5) / 3, 2 * (0.2 + 0.1) / 2, 2 * 0.1]
    assert cell.means(cell.raw) == pytest.approx(np.array([first, second]))
    ranked = rank(cell, cell.raw, 1)
    assert cell.tokens[ranked.order[0]] == "株"
    assert ranked.low[0] <= ranked.means[0] <= ranked.high[0]
    waste = load_attributions(collected, min_count=1, target="waste").cells["elyza", "ja16"]
    assert waste.tokens == ("炭", "目標") and waste.num_explained == 3


def test_tables_of_each_class(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explanations", str(results.uri), "--min-count", "1"]) == 0
    told = capsys.readouterr()
    assert "Table 5. elyza, class waste: tokens with the highest mean contribution" in told.out
    assert "elyza, class markets: checks of the explanations" in told.out
    assert "explained for this class (5 in ja16); each is explained for its predicted" in told.out
    assert "class sport has no table: elyza x ja16: no text was explained for sport" in told.err
    assert main(["explanations", str(results.uri), "--target", "sport"]) == 2
    assert main(["explanations", str(results.uri), "--target", "positive"]) == 2
    assert "unknown target 'positive'. Known: markets, sport, waste." in capsys.readouterr().err


def test_tables_of_two_classes_name_no_class(tmp_path: Path) -> None:
    made = make_results(tmp_path, make_plan(["elyza"], ["ja16"], [0]))
    trial_id = save_done(made, "elyza", "ja16", 0, {"f1": 0.5})
    save_attributions(made, trial_id, Attributions(LIME, attributions(TEXTS)))
    collected = collect(made)
    read, left_out = load_each_target(collected, min_count=1)
    assert list(read) == ["positive"] and left_out == {}
    tables = make_attribution_tables(collected, read["positive"], min_count=1)
    assert [table.name for table in tables] == [
        "tokens-elyza",
        "contributions-elyza",
        "checks-elyza",
    ]
    with pytest.raises(InputError, match=r"unknown target 'sport'. Known: negative, positive,"):
        load_attributions(collected, target="sport")


def test_attributions_of_two_classes_are_not_taken_for_those_of_three(results: Results) -> None:
    trial = next(row.trial_id for row in collect(results).rows)
    save_attributions(results, trial, Attributions(LIME, attributions(TEXTS)))
    read = load_attributions(collect(results), min_count=1, target="markets")
    assert read.cells["elyza", "ja16"].runs == ((0, 1),)
    assert "seed 0: explained for another number of classes" in read.cells["elyza", "ja16"].gaps[0]


def test_the_page_colours_each_text_for_the_class_of_most_runs(tmp_path: Path) -> None:
    results = explain(tmp_path / "r", 5)
    keep_texts(results, ["t000"], "kept")
    collected = collect(results)
    explained = find_explained(collected)
    assert explained is not None
    tables = show_explanations(collected, explained)
    titles = [table.title for table in tables]
    assert titles[0] == "Tokens that contribute most: elyza, waste"
    assert titles[3] == "Tokens that contribute most: elyza, markets"
    (cell,) = collect_explained_texts(collected, explained)["cells"]
    assert cell["classes"][:4] == [0, 0, 2, 2]  # of equally many runs the first class
    assert cell["values"][0] == [600, -150]  # mean of both runs
    assert cell["values"][1] == [200, -200]  # the first run alone
    assert cell["scores"][:4] == [0.9, 0.5, 0.8, 0.7]
    assert cell["wrong"][:4] == [0, 2, 2, 2]  # labels are 0, 1, 0, 1


def test_optional_columns_are_checked(results: Results) -> None:
    trial = next(row.trial_id for row in collect(results).rows)
    table = with_classes(attributions(TEXTS), [0, 0, 2, 2], [0, 0, 2, 2])
    for damaged in (table.drop(["total"]), table.append_column("more", [[1] * 4])):
        save_attributions(results, trial, Attributions(LIME, damaged))
        with pytest.raises(InputError, match="attributions by lime have other columns"):
            read_attributions(results, trial, "lime")
