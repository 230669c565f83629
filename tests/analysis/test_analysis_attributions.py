"""Attributions: mean contributions by token, their ranking, and overlaps of rankings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from explained_results import LIME, Text, attributions, explained
from hypothesis import given
from hypothesis import strategies as st
from result_folders import make_plan, make_results, save_done

from xlt.analysis.attributions.cell import TARGETS
from xlt.analysis.attributions.collect import load_attributions
from xlt.analysis.attributions.evidence import mask_stability, rank
from xlt.analysis.attributions.overlaps import compare_rankings, jaccard, rank_biased_overlap
from xlt.analysis.attributions.table import make_attribution_tables
from xlt.analysis.attributions.units import UNITS, Unit, name_segments
from xlt.analysis.tables.paper import MODELS, PATTERNS, TABLE_5, TABLE_5_MODEL
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.cli.main import main
from xlt.trainables.results.attributions import LATER_COLUMNS, Attributions, save_attributions
from xlt.trainables.spec.explain import Explain

THREE: list[Text] = [
    (["炭", "目標"], [0.4, -0.1], 0.9),
    (["炭", "炭", "株"], [0.2, 0.0, -0.2], 0.3),
    (["株", "rare"], [-0.3, 0.3], 0.6),
]


def test_means_by_hand(tmp_path: Path) -> None:
    results = explained(
        tmp_path, {"ja16": [THREE, [(p, [2 * v for v in c], s) for p, c, s in THREE]]}
    )
    collected = collect(results)
    cell = load_attributions(collected, min_count=2).cells["elyza", "ja16"]
    assert cell.tokens == ("株", "炭") and cell.num_texts_with.tolist() == [2, 2]
    assert cell.means(cell.raw) == pytest.approx(
        np.array([[-0.25, 0.2], [-0.5, 0.4]])  # 炭: (0.4 + 0.2 + 0.0) / 3 occurrences
    )
    normalised = [(-0.5 - 0.5) / 2, (0.8 + 0.5 + 0) / 3]
    assert cell.means(cell.normalised) == pytest.approx(np.array([normalised, normalised]))
    assert cell.variances == pytest.approx(np.array([[2e-4, 3e-4]] * 2))
    predicted = load_attributions(collected, min_count=2, target="predicted")
    cell = predicted.cells["elyza", "ja16"]
    assert cell.means(cell.raw)[0] == pytest.approx([(0.2 - 0.3) / 2, (0.4 - 0.2 - 0.0) / 3])


def test_runs_of_one_seed_on_two_draws_both_count(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_plan(["elyza"], ["ja16"], [0], draws=[0, 1]))
    for draw_index, factor in ((0, 1), (1, 3)):
        trial_id = save_done(results, "elyza", "ja16", 0, {"f1": 0.5}, draw_index=draw_index)
        texts = [(p, [factor * v for v in c], s) for p, c, s in THREE]
        made = Attributions(LIME, attributions(texts), {"hidden_as": "<unk>"})
        save_attributions(results, trial_id, made)
    cell = load_attributions(collect(results), min_count=2).cells["elyza", "ja16"]
    assert cell.runs == ((0, 0), (1, 0))
    assert cell.means(cell.raw) == pytest.approx(np.array([[-0.25, 0.2], [-0.75, 0.6]]))
    ranked = rank(cell, cell.raw, 2)
    assert ranked.means == pytest.approx([-0.5, 0.4])
    assert ranked.low[1] <= 0.2 and ranked.high[1] >= 0.6  # of two draws one is drawn


def test_a_contribution_to_one_class_is_negative_for_the_other() -> None:
    scores = np.array([0.2, 0.5, 0.9])
    assert TARGETS["positive"](scores).tolist() == [1, 1, 1]
    assert TARGETS["negative"](scores).tolist() == [-1, -1, -1]
    assert TARGETS["predicted"](scores).tolist() == [-1, 1, 1]


def test_contributions_of_the_pieces_of_a_word_are_added() -> None:
    split = UNITS["word"]("en")
    assert split("carbon neutral", ["carb", "on", "neutral"], [0, 4, 6], [4, 6, 14]) == [
        "carbon", "carbon", "neutral",
    ]  # fmt: skip


def test_japanese_words_are_those_of_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    class Word:
        def __init__(self, surface: str) -> None:
            self.surface = surface

    cut = ["炭素", "排出", "を", "減らす"]
    fugashi = SimpleNamespace(Tagger=lambda: lambda text: [Word(w) for w in cut])
    monkeypatch.setitem(sys.modules, "fugashi", fugashi)
    split = UNITS["word"]("ja")
    text = "".join(cut)
    assert split(text, ["炭", "素", "排出", "を減", "らす"], [0, 1, 2, 4, 6], [1, 2, 4, 6, 8]) == [
        "炭素", "炭素", "排出", "を減らす", "を減らす",  # a piece reaches across を and 減らす
    ]  # fmt: skip
    monkeypatch.setitem(sys.modules, "fugashi", None)
    with pytest.raises(InputError, match=r"need MeCab: pip install 'xlt-sweep\[words\]'"):
        UNITS["word"]("ja")


def test_rank_biased_overlap_by_hand() -> None:
    """Agreement 1, 1/2, 1 at depths 1 to 3: 0.729 + (0.9 + 0.405 + 0.729) / 9."""
    found = rank_biased_overlap(np.array([[0, 1, 2]]), np.array([[0, 2, 1]]))
    assert found == pytest.approx(0.955)


@given(st.permutations(range(12)), st.permutations(range(12)), st.floats(0.1, 0.95))
def test_rank_biased_overlap_is_the_sum_of_its_definition(
    one: list[int], two: list[int], p: float
) -> None:
    a, b = one[:5], two[:5]
    agreement = [len({*a[:d]} & {*b[:d]}) / d for d in range(1, 6)]
    # The series of equation 4 with the last agreement taken to go on for ever.
    endless = agreement + agreement[-1:] * 3000
    expected = (1 - p) * sum(p**d * value for d, value in enumerate(endless))
    pair = np.array([a]), np.array([b])
    assert rank_biased_overlap(*pair, p)[0] == pytest.approx(expected, abs=1e-9)
    assert rank_biased_overlap(*pair[::-1], p) == pytest.approx(rank_biased_overlap(*pair, p))
    assert jaccard(*pair)[0] == pytest.approx(len({*a} & {*b}) / len({*a} | {*b}))


def noisy(rng: np.random.Generator, means: Sequence[float], noise: float) -> list[Text]:
    """60 texts of four different tokens out of as many as there are means."""
    order = np.random.default_rng(7)
    texts: list[Text] = []
    for _ in range(60):
        chosen = order.choice(len(means), 4, replace=False)
        values = [means[n] + noise * rng.standard_normal() for n in chosen]
        texts.append(([f"w{n:02}" for n in chosen], values, 0.7))
    return texts


@pytest.mark.parametrize(
    ("other", "noise", "verdict"),
    [
        (list(range(20)), 0.02, "hardly changed: the excess is below 0.1"),
        (list(range(20)), 0.3, "not settled: the excess may be 0, or 0.1 and more"),
        (list(range(20))[::-1], 0.3, "changed: patterns differ more"),
    ],
)
def test_verdict_on_two_patterns(
    other: list[int], noise: float, verdict: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    cells = {
        "ja0": [noisy(rng, [n / 20 for n in range(20)], noise) for _ in range(3)],
        "ja16": [noisy(rng, [n / 20 for n in other], noise) for _ in range(3)],
    }
    read = load_attributions(collect(explained(tmp_path, cells)))
    first, second = read.cells.values()
    ranked = rank(first, first.raw, 5), rank(second, second.raw, 5)
    made = compare_rankings(first, second, ranked)
    assert made.verdict.startswith(verdict)
    assert made.excess[1] < made.excess[0] < made.excess[2]


def test_runs_that_share_no_tokens_settle_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    orders = [[(n + 7 * run) % 20 / 20 for n in range(20)] for run in range(3)]
    cells = {name: [noisy(rng, order, 0.01) for order in orders] for name in ("ja0", "ja16")}
    first, second = load_attributions(collect(explained(tmp_path, cells))).cells.values()
    made = compare_rankings(first, second, (rank(first, first.raw, 5), rank(second, second.raw, 5)))
    assert made.between_runs < 0.3
    assert made.verdict == ("not settled: runs of one pattern differ too much to compare patterns")


def test_interval_is_that_of_a_mean_over_texts(tmp_path: Path) -> None:
    """With one seed and one occurrence a text: the standard error of a mean, by the formula."""
    rng = np.random.default_rng(2)
    values = rng.normal(0.3, 0.2, 400)
    texts: list[Text] = [(["w"], [value], 0.7) for value in values]
    read = load_attributions(collect(explained(tmp_path, {"ja0": [texts]})))
    cell = read.cells["elyza", "ja0"]
    made = rank(cell, cell.raw, 1)
    assert made.means[0] == pytest.approx(values.mean())
    assert (made.high - made.low)[0] == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.1)


@pytest.mark.parametrize(("error", "enough"), [(0.001, True), (0.8, False)])
def test_too_few_masks_are_reported(error: float, enough: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    means = [n / 20 for n in range(20)]
    results = explained(tmp_path, {"ja0": [noisy(rng, means, 0)]}, error=error)
    (cell,) = load_attributions(collect(results)).cells.values()
    made = mask_stability(cell, 5)
    assert made is not None
    assert (made.enough == 256) is enough
    if not enough:
        assert made.kept < 0.9 and made.enough is not None and made.enough > 256


def test_table_5_of_the_paper() -> None:
    assert tuple(TABLE_5) == PATTERNS and TABLE_5_MODEL in MODELS
    assert all(len(set(tokens)) == 10 for tokens in TABLE_5.values())
    assert set(TABLE_5["ja0"]) == set(TABLE_5["ja16"])
    assert set(TABLE_5["ja104"]) - set(TABLE_5["ja0"]) == {"削", "油", "債"}


def test_the_printed_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat: list[Text] = [(["炭", "株"], [0.0003, 0.0001], 0.99)]
    explained(tmp_path, {"ja0": [THREE + flat, []], "ja16": [THREE, THREE]})
    assert main(["explanations", str(tmp_path), "--min-count", "2", "--top", "2"]) == 0
    told = capsys.readouterr().out
    assert "paper ja0" in told and "エネルギー" in told
    assert "1/4" in told  # flat, of one seed's four texts
    assert "seed 1: no attributions by lime; `xlt explain" in told
    assert "hidden tokens become <unk>" in told
    assert main(["explanations", str(tmp_path), "--min-count", "2", "--format", "csv"]) == 0
    heading, first, *_ = capsys.readouterr().out.splitlines()
    assert heading.startswith("base_model,pattern,rank,token,num_texts,in_runs,num_runs,raw_mean")
    assert first.startswith("elyza,ja0,1,炭,3,1,1,")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--method", "ig"], "no attributions by ig; `xlt explain"),
        (["--method", "lme"], "unknown method 'lme'. Did you mean 'lime'?"),
        (["--unit", "words"], "unknown unit 'words'. Did you mean 'word'?"),
        (["--target", "postive"], "unknown target 'postive'. Did you mean 'positive'?"),
        (["--only", "model=elyzza"], "--only: unknown model 'elyzza'. Did you mean 'elyza'?"),
        (["--top", "0"], "top is 0; give 1 or more"),
        (["--min-count", "99"], "no token is in 99 texts or more; lower --min-count"),
        (["--format", "pdf"], "unknown format 'pdf'"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explained(tmp_path, {"ja0": [THREE * 3]})
    assert main(["explanations", str(tmp_path), *arguments]) == 2
    told = capsys.readouterr().err
    assert problem in told and "Traceback" not in told


def test_seeds_with_other_settings_or_rows_are_not_averaged(tmp_path: Path) -> None:
    results = explained(tmp_path, {"ja0": [THREE * 3, THREE * 2]})
    with pytest.raises(InputError, match="seed 1 was tested on other rows"):
        load_attributions(collect(results))
    other = Attributions(Explain(num_samples=9).resolved(), attributions(THREE * 3))
    save_attributions(results, collect(results).plan.trial_ids[1], other)
    with pytest.raises(InputError, match="seed 1 was explained with other settings"):
        load_attributions(collect(results))


def test_tables_of_one_pattern_have_no_overlaps(tmp_path: Path) -> None:
    collected = collect(explained(tmp_path, {"ja0": [THREE * 3]}))
    read = load_attributions(collected)
    assert len(make_attribution_tables(collected, read)) == 3


def test_tokens_of_a_pair_are_named_by_their_text(tmp_path: Path) -> None:
    """The same token in the first and the second text has two means."""
    results = make_results(tmp_path, make_plan(["elyza"], ["ja16"], [0]))
    trial_id = save_done(results, "elyza", "ja16", 0, {"f1": 0.5})
    texts: list[Text] = [
        (["炭", "株", "炭"], [0.4, -0.1, 0.2], 0.9),
        (["炭", "炭"], [0.2, 0.0], 0.3),
    ]
    field = LATER_COLUMNS.field("segments")
    table = attributions(texts).append_column(field, pa.array([[0, 0, 1], [0, 1]], field.type))
    save_attributions(results, trial_id, Attributions(LIME, table))
    collected = collect(results)
    read = load_attributions(collected, min_count=1)
    cell = read.cells["elyza", "ja16"]
    assert cell.tokens == ("1: 株", "1: 炭", "2: 炭")
    assert cell.means(cell.raw)[0] == pytest.approx([-0.1, 0.3, 0.1])
    (tokens, *_) = make_attribution_tables(collected, read, min_count=1)
    assert "1: and 2: are tokens of the first and the second text of a pair." in tokens.caption


def test_pieces_of_a_word_stay_one_occurrence_in_pairs() -> None:
    first, second = Unit("carbon"), Unit("carbon")
    named = name_segments([first, first, second], [0, 0, 1])
    assert named == ["1: carbon", "1: carbon", "2: carbon"] and named[0] is named[1]
