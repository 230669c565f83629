"""The grid: what is counted, what is skipped, what cannot be drawn."""

from __future__ import annotations

import pytest

from data.draws import draw
from data.errors import InputError
from data.schema import text_key
from sweep.experiment import load_experiment
from sweep.grid import expand


def test_quickstart_is_the_papers_grid() -> None:
    grid = expand(load_experiment("quickstart"))
    assert len(grid.specs) == len({spec.trial_id for spec in grid.specs}) == 39
    skipped = {(c.model.name, c.pattern.name): c.skipped for c in grid.cells if not c.specs}
    assert sorted(skipped) == [("mini-bert-ja", "ja0"), ("mini-opencalm", "ja0")]
    assert "not pre-trained on en" in skipped["mini-opencalm", "ja0"]
    monolingual = [s for s in grid.specs if s.base_model in ("mini-opencalm", "mini-bert-ja")]
    assert {spec.pattern.source_rows for spec in monolingual} == {0}


def test_overrides_reach_their_cell_only() -> None:
    grid = expand(load_experiment("paper", ["seeds=[0]"]))
    rates = {(s.base_model, s.pattern.name): s.learning_rate for s in grid.specs}
    assert rates["opencalm", "ja16"] == 7e-3
    assert rates["opencalm", "ja104"] == rates["elyza", "ja16"] == 5e-4
    (cell,) = (c for c in grid.plan().cells if (c.base_model, c.pattern) == ("opencalm", "ja16"))
    assert "did not train" in cell.note


def test_test_rows_are_held_out_and_the_same_for_every_cell() -> None:
    grid = expand(load_experiment("quickstart", ["seeds=[0]"]))
    draws = [
        draw(grid.dataset, s.source_lang, s.pattern, s.sampling, s.draw_index) for s in grid.specs
    ]
    assert len({drawn.test for drawn in draws}) == 1
    texts = grid.dataset.rows(list(draws[0].test))["text"].to_pylist()
    assert {text_key(text) for text in texts} == grid.held_out
    trained = {t for d in draws for t in grid.dataset.rows(list(d.train))["text"].to_pylist()}
    assert not {text_key(text) for text in trained} & grid.held_out


def test_impossible_counts_are_told_together() -> None:
    experiment = load_experiment("quickstart", ["data.num_target=1000", "sampling.test_rows=900"])
    with pytest.raises(InputError) as caught:
        expand(experiment)
    assert "needs 450 positive ja rows" in str(caught.value)
    assert "negative ja rows" in str(caught.value)


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="no cell of the grid can exist"):
        expand(load_experiment("quickstart", ["models=[mini-bert-ja]", "patterns=[ja0]"]))
