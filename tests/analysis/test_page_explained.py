"""Attributions on the page: Table 5 and texts with what their pieces add."""

from __future__ import annotations

from pathlib import Path

import pytest
from explained_results import Text, explained
from page_data import data_of
from page_results import HOSTILE, keep_texts

from xlt.analysis.page import render_page
from xlt.analysis.page.explained import find_explained
from xlt.analysis.trials.collect import collect
from xlt.trainables.results.result import Results

FIRST: list[Text] = [(["炭", "😀目標"], [0.4, -0.1], 0.9), (["株", "価"], [-0.3, 0.0], 0.6)] * 5
SECOND: list[Text] = [(p, [3 * v for v in c], s / 2) for p, c, s in FIRST]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = explained(tmp_path / "r", {"ja0": [FIRST, SECOND], "ja16": [[], FIRST]})
    keep_texts(made, ["t000"], "kept")
    return made


def test_texts_have_the_means_of_their_runs(results: Results) -> None:
    html = render_page(collect(results))
    found = data_of(html)["explained"]
    assert found["method"] == "lime"
    ja0, ja16 = found["cells"]
    assert (ja0["cell"], ja0["runs"]) == (0, 2)
    assert ja0["values"][:2] == [[800, -200], [-600, 0]]
    assert ja0["scores"][:2] == [0.675, 0.45]
    assert ja0["wrong"][:2] == [1, 1]  # labels 0 and 1: called 1 and 0, 1 and 0
    assert found["texts"][ja0["texts"][0]] == ["炭 😀目標", "ja", 0, 0, 1, 2, 5]
    assert ja16["values"][:2] == [[400, -100], [-300, 0]]
    assert 'id="h-explained-1">Tokens that contribute most: elyza</h2>' in html
    assert "explained-1-1" in data_of(html)["files"]


def test_texts_that_are_not_kept_are_not_shown(tmp_path: Path) -> None:
    made = explained(tmp_path / "r", {"ja0": [FIRST]})
    html = render_page(collect(made))
    assert data_of(html)["explained"] is None
    assert "Tokens that contribute most: elyza" in html
    assert "目標" not in str(data_of(html)["rows"])


def test_nothing_is_said_where_nothing_was_explained(tmp_path: Path) -> None:
    made = explained(tmp_path / "r", {"ja0": [[]]})
    assert find_explained(collect(made)) is None
    assert 'id="explained"' not in render_page(collect(made))


def test_what_cannot_be_read_is_a_sentence(results: Results) -> None:
    for file in Path(results.root).rglob("attributions-lime.parquet"):
        file.write_bytes(b"PAR1")
    html = render_page(collect(results))
    assert "attributions by lime were changed after they were written" in html
    assert data_of(html)["explained"] is None


def test_hostile_pieces_are_texts(tmp_path: Path) -> None:
    made = explained(tmp_path / "r", {"ja0": [[([HOSTILE, "株"], [0.4, 0.1], 0.9)] * 6]})
    keep_texts(made, ["t000"], "kept")
    html = render_page(collect(made))
    assert HOSTILE not in html
    assert data_of(html)["explained"]["texts"][0][0].startswith(HOSTILE)
