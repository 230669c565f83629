"""Claims: golden values from scipy, closed testing, simulated levels, claims without a test."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_folders import make_plan, make_results, save_done, save_failed
from scipy import stats

from xlt.analysis.claims import (
    PAPER,
    ClaimResult,
    Claims,
    PublishedCells,
    ResultCells,
    evaluate,
    parse_claims,
    shipped_claims,
)
from xlt.analysis.claims.report import make_claims_tables
from xlt.analysis.tables import paper
from xlt.analysis.tables.formats import write_tables
from xlt.analysis.trials.collect import collect
from xlt.analysis.uncertainty.differences import Difference
from xlt.analysis.uncertainty.welch import Sample, welch
from xlt.data.core.errors import InputError


class Given:
    """Cells in memory: name -> seeds."""

    def __init__(self, **seeds: list[float]) -> None:
        self.seeds = seeds

    def difference(self, metric: str, first: str, second: str) -> Difference:
        a, b = (self.seeds[name.partition("/")[0]] for name in (first, second))
        return welch(*(Sample(float(np.mean(v)), float(np.std(v, ddof=1)), len(v)) for v in (a, b)))


def part(
    direction: str = "greater", margin: float = 0.0, first: str = "a", second: str = "b"
) -> Any:
    return {
        "metric": "f1", "first": f"{first}/ja0", "second": f"{second}/ja0",
        "direction": direction, "margin": margin,
    }  # fmt: skip


def one_claim(*parts: Any, **values: Any) -> Claims:
    claim = {"id": "x", "says": "so", "parts": list(parts)}
    return parse_claims({"title": "T", "claims": [claim], **values})


def verdict(cells: Any, *parts: Any) -> str:
    return evaluate(one_claim(*parts), cells)[0].verdict


HIGH, LOW = [0.80, 0.81, 0.82], [0.70, 0.71, 0.72]
CLOSE = Given(a=HIGH, b=[0.81, 0.815, 0.80])
APART = Given(a=HIGH, b=LOW)
NOISY = Given(a=[0.6, 0.8, 0.9], b=LOW)


@pytest.mark.parametrize(
    ("cells", "direction", "margin", "expected"),
    [
        (APART, "greater", 0.0, "supported"),
        (APART, "greater", 0.05, "supported"),
        (APART, "greater", 0.2, "contradicted"),
        (APART, "less", 0.0, "contradicted"),
        (APART, "less", -0.2, "supported"),  # not above it by 0.2
        (APART, "equal", 0.05, "contradicted"),
        (APART, "equal", 0.2, "supported"),
        (NOISY, "greater", 0.0, "undecided"),
        (NOISY, "less", 0.0, "undecided"),
        (NOISY, "equal", 0.05, "undecided"),
        (CLOSE, "equal", 0.03, "supported"),
        (CLOSE, "greater", 0.0, "undecided"),
    ],
)
def test_verdicts(cells: Given, direction: str, margin: float, expected: str) -> None:
    assert verdict(cells, part(direction, margin)) == expected


def test_p_values_are_those_of_scipy() -> None:
    (greater,) = evaluate(one_claim(part("greater", 0.05)), APART)
    known = stats.ttest_ind(np.array(HIGH) - 0.05, LOW, equal_var=False).pvalue
    assert greater.p == pytest.approx(known)
    assert greater.parts[0].interval == pytest.approx(
        tuple(stats.ttest_ind(HIGH, LOW, equal_var=False).confidence_interval())
    )
    (equal,) = evaluate(one_claim(part("equal", 0.2)), APART)
    inside = [
        stats.ttest_ind(np.array(HIGH) + 0.2, LOW, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(np.array(HIGH) - 0.2, LOW, equal_var=False, alternative="less").pvalue,
    ]
    assert equal.p == pytest.approx(max(inside))


def test_every_part_must_hold_and_one_contradicts() -> None:
    cells = Given(a=HIGH, b=LOW, c=[0.5, 0.51, 0.52], d=[0.6, 0.9, 0.95])
    holds, open_, fails = part(second="c"), part(second="d"), part(first="c", second="b")
    assert verdict(cells, part(), holds) == "supported"
    assert verdict(cells, part(), open_) == "undecided"
    assert verdict(cells, part(), open_, fails) == "contradicted"
    (joint,) = evaluate(one_claim(part(), holds), cells)
    assert joint.p == max(p.p_for or 0 for p in joint.parts)


seeds = st.lists(st.integers(1, 999).map(lambda k: k / 1000), min_size=3, max_size=3).filter(
    lambda found: len(set(found)) > 1
)
OPPOSITE = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}


@given(seeds, seeds, st.sampled_from([0.0, 0.05, -0.05]))
def test_a_verdict_flips_with_its_direction(a: list[float], b: list[float], margin: float) -> None:
    cells = Given(a=a, b=b)
    said = verdict(cells, part("greater", margin))
    assert verdict(cells, part("less", -margin)) == OPPOSITE[said]
    # The same claim, told from the other cell.
    assert verdict(cells, part("less", margin, first="b", second="a")) == said


@given(seeds, seeds, st.sampled_from(["greater", "less", "equal"]), st.sampled_from([0.5, 3.0]))
def test_a_verdict_does_not_depend_on_the_unit(
    a: list[float], b: list[float], direction: str, unit: float
) -> None:
    (ours,) = evaluate(one_claim(part(direction, 0.05)), Given(a=a, b=b))
    scaled = Given(a=[unit * v for v in a], b=[unit * v for v in b])
    (theirs,) = evaluate(one_claim(part(direction, unit * 0.05)), scaled)
    assert ours.p == pytest.approx(theirs.p, rel=1e-6, abs=1e-12)


@given(seeds, seeds, st.floats(0.001, 0.3))
def test_nothing_is_both_supported_and_contradicted(
    a: list[float], b: list[float], margin: float
) -> None:
    cells = Given(a=a, b=b)
    equal = evaluate(one_claim(part("equal", margin)), cells)[0].parts[0]
    assert not (equal.p_for or 1) < 0.05 > (equal.p_against or 1)
    if verdict(cells, part("equal", margin)) == "supported":
        assert verdict(cells, part("greater", margin)) != "supported"


@given(seeds, seeds, st.floats(-0.3, 0.3), st.sampled_from(["greater", "less", "equal"]))
def test_p_is_below_alpha_where_the_interval_lies_inside_the_bound(
    a: list[float], b: list[float], margin: float, direction: str
) -> None:
    margin = abs(margin) + 0.001 if direction == "equal" else margin
    found = evaluate(one_claim(part(direction, margin)), Given(a=a, b=b))[0].parts[0]
    assert found.interval and found.p_for is not None
    low, high = found.interval
    bounds = {"greater": (margin, np.inf), "less": (-np.inf, -margin), "equal": (-margin, margin)}
    least, most = bounds[direction]
    if min(abs(low - least), abs(high - most)) > 1e-9:
        assert (found.p_for < 0.05) == (least < low and high < most)


# --- level -----------------------------------------------------------------------------------


def test_claims_without_effect_are_seldom_decided() -> None:
    """Four claims of equal cells: any wrong verdict in at most 5 % of files, within error."""
    rng = np.random.default_rng(0)
    pairs = ["ab", "cd", "ef", "gh"]
    claims = parse_claims(
        {
            "title": "T",
            "claims": [
                {"id": pair, "says": "so", "parts": [part(first=pair[0], second=pair[1])]}
                for pair in pairs
            ],
        }
    )
    wrong = 0
    for _ in range(400):
        cells = Given(**{name: rng.normal(0.8, 0.02, 3).tolist() for name in "abcdefgh"})
        wrong += any(r.verdict != "undecided" for r in evaluate(claims, cells))
    assert wrong / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_p_values_are_corrected_for_the_number_of_claims() -> None:
    parts = [part(first="a", second="b")]
    many = [{"id": str(k), "says": "so", "parts": parts} for k in range(40)]
    (alone,) = evaluate(one_claim(*parts), APART)
    crowded = evaluate(parse_claims({"title": "T", "claims": many}), APART)[0]
    assert crowded.p == pytest.approx(40 * (alone.p or 0))
    outside = {"id": "z", "says": "so", "outside": "needs eyes"}
    some = evaluate(parse_claims({"title": "T", "claims": [many[0], outside]}), APART)
    assert some[0].p == alone.p  # what cannot be tested does not count
    assert (some[1].verdict, some[1].missing) == ("not evaluated", "needs eyes")


# --- files ----------------------------------------------------------------------------------


def test_the_papers_claims_are_about_cells_that_it_has() -> None:
    claims = shipped_claims(PAPER)
    assert {"1a", "1b", "2a", "2b", "3a", "3b", "4", "5"} <= {c.id for c in claims.claims}
    for result in evaluate(claims, PublishedCells()):
        assert (result.verdict == "not evaluated") == (result.claim.id == "5")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"parts": [part("grater")]}, "direction: should be 'greater', 'less' or 'equal'"),
        ({"parts": [part("equal")]}, "equal needs a margin above 0"),
        ({"parts": [part(second="a")]}, "a/ja0 is compared with itself"),
        ({"parts": [part() | {"first": "elyza"}]}, "'elyza' is no cell; write base model/pattern"),
        ({"parts": [part() | {"margin": float("nan")}]}, "margin: should be a finite number"),
        ({"parts": []}, "give either parts or"),
        ({"parts": [part()], "outside": "eyes"}, "give either parts or"),
        ({"part": [part()]}, "unknown key 'part'. Did you mean 'parts'"),
    ],
)
def test_mistakes_in_a_file_are_reported(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        parse_claims({"title": "T", "claims": [{"id": "x", "says": "so", **values}]}, "mine.yaml")
    assert told in str(error.value)


def test_ids_differ_and_unknown_files_are_named() -> None:
    twice = [{"id": "x", "says": "so", "parts": [part()]}] * 2
    with pytest.raises(InputError, match="claims with the same id: x; rename all but one"):
        parse_claims({"title": "T", "claims": twice})
    with pytest.raises(InputError, match=r"unknown file of claims 'papers'\. Did you mean 'paper'"):
        shipped_claims("papers")


# --- published tables -----------------------------------------------------------------------


def published() -> dict[str, ClaimResult]:
    return {r.claim.id: r for r in evaluate(shipped_claims(PAPER), PublishedCells())}


def test_three_published_runs_decide_no_claim_after_correction() -> None:
    found = published()
    first = found["1a"].parts[0]
    known = stats.ttest_ind_from_stats(
        0.915 - 0.05, 0.007, 3, 0.836, 0.005, 3, equal_var=False
    ).pvalue
    assert first.p_for == pytest.approx(known)
    assert {r.verdict for r in found.values()} == {"undecided", "not evaluated"}
    assert {name for name, r in found.items() if r.alone == "supported"} == {
        "1a",
        "3b",
        "4b",
        "RQ2",
    }


def test_a_std_with_ddof_0_is_widened() -> None:
    narrow, wide = (PublishedCells(ddof).sample("f1", "elyza/ja0") for ddof in (1, 0))
    assert narrow == Sample(0.691, 0.088, 3)
    # A std over n runs, n - ddof = 3, as one with ddof = 1.
    assert wide.std == pytest.approx(0.088 * np.std([0, 1, 5], ddof=1) / np.std([0, 1, 5]))


@pytest.mark.parametrize(
    ("metric", "cell", "told"),
    [
        ("recall", "elyza/ja0", "the paper has no table of recall"),
        ("f1", "opencalm/ja0", "the paper has no value of opencalm/ja0"),
        ("f1", "gpt/ja0", "the paper has no value of gpt/ja0"),
    ],
)
def test_cells_and_metrics_that_the_paper_lacks_are_refused(
    metric: str, cell: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        PublishedCells().sample(metric, cell)


# --- result folders -------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path: Path) -> ResultCells:
    models = ["mini-elyza", "mini-mbert", "mini-opencalm"]
    skipped = {("mini-opencalm", "ja0"): "no ja rows"}
    results = make_results(tmp_path / "r", make_plan(models, ["ja0", "ja16"], skipped=skipped))
    for seed in range(3):
        for model, pattern, f1 in [
            ("mini-elyza", "ja0", 0.8), ("mini-elyza", "ja16", 0.9), ("mini-mbert", "ja0", 0.6),
        ]:  # fmt: skip
            value = f1 + 0.01 * seed
            save_done(results, model, pattern, seed, {"f1": value, "auroc": value})
    for seed in range(2):
        save_done(results, "mini-mbert", "ja16", seed, {"f1": 0.5 + 0.01 * seed, "auroc": 0.5})
    save_failed(results, "mini-opencalm", "ja16", 0, "out of memory")
    return ResultCells(collect(results))


def test_a_miniature_stands_in_for_its_model(cells: ResultCells) -> None:
    assert cells.sample("f1", "elyza/ja0") == cells.sample("f1", "mini-elyza/ja0")
    found = cells.sample("f1", "elyza/ja0")
    assert (found.mean, found.std, found.n) == (pytest.approx(0.81), pytest.approx(0.01), 3)


def test_the_models_own_results_come_first(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(["elyza", "mini-elyza"], seeds=[0, 1]))
    for seed in (0, 1):
        save_done(results, "elyza", "ja16", seed, {"f1": 0.9})
        save_done(results, "mini-elyza", "ja16", seed, {"f1": 0.1})
    assert ResultCells(collect(results)).sample("f1", "elyza/ja16").mean == 0.9


@pytest.mark.parametrize(
    ("metric", "cell", "told"),
    [
        ("f1", "gpt/ja0", "unknown base model 'gpt'"),
        ("f1", "elyza/ja32", r"unknown pattern 'ja32'\. Known: ja0, ja16"),
        ("aurok", "elyza/ja0", r"unknown metric 'aurok'\. Did you mean 'auroc'"),
        ("f1", "opencalm/ja0", "mini-opencalm/ja0 has no value: no ja rows"),
        ("f1", "opencalm/ja16", "seed 0 failed: out of memory"),
    ],
)
def test_a_cell_without_value_says_why(
    cells: ResultCells, metric: str, cell: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        cells.sample(metric, cell)


def test_claims_that_cannot_be_tested_leave_the_others_alone(cells: ResultCells) -> None:
    ours = {
        "metric": "f1", "first": "elyza/ja16", "direction": "greater", "second": "elyza/ja0",
    }  # fmt: skip
    claims = parse_claims(
        {
            "title": "T",
            "claims": [
                {"id": "can", "says": "so", "parts": [ours]},
                {"id": "cannot", "says": "so", "parts": [ours, ours | {"second": "gpt/ja0"}]},
                {"id": "part", "says": "so", "parts": [ours | {"second": "mbert/ja16"}]},
            ],
        }
    )
    can, cannot, partial = evaluate(claims, cells)
    assert (can.verdict, partial.verdict) == ("supported", "supported")
    assert cannot.verdict == "not evaluated"
    assert cannot.missing.startswith("gpt/ja0: unknown base model 'gpt'. Known: ")
    assert cannot.parts[0].difference is not None
    (table,) = make_claims_tables(claims, cells)
    text = write_tables([table])
    assert "cannot is not evaluated: gpt/ja0: unknown base model" in text
    assert "† f1 of mbert/ja16: over 2 of 3 seeds." in text
    assert "mini-elyza, mini-mbert stand in for the models" in text
    assert table.heading == ("claim", "ours", "p")


def test_the_table_has_ours_beside_the_papers_and_the_differences(cells: ResultCells) -> None:
    claims, differences = make_claims_tables(shipped_claims(PAPER), cells, published=True)
    assert claims.heading == ("claim", "ours", "p", "published", "p")
    line = next(line for line in claims.lines if "auroc elyza/ja0 - mbert/ja0 > 0.05" in line[0])
    assert line[1].startswith("+0.200 [") and line[3].startswith("+0.079 [")
    by_cell = {line[:3]: line[3:] for line in differences.lines}
    assert len(by_cell) == len(paper.TABLES) * 5  # mini-opencalm x ja0 is not in the paper
    ours, theirs, difference = by_cell["f1", "mini-elyza", "ja0"]
    assert (ours, theirs) == ("0.810 (0.010)", "0.691 (0.088)")
    assert difference.startswith("+0.119 [")
    assert by_cell["f1", "mini-opencalm", "ja16"][2] == "-"
    assert any("miniature(s), not the paper's models" in note for note in differences.footnotes)
    rows = list(csv.DictReader(io.StringIO(write_tables([claims, differences], "csv"))))
    assert {row["source"] for row in rows} == {"ours", "published", "ours - published"}
    assert {row["verdict"] for row in rows if row["source"] == "published"} == {
        "", "undecided", "not evaluated",
    }  # fmt: skip
    (one,) = [r for r in rows if r["first"] == "mini-elyza/ja0" and r["metric"] == "f1"]
    assert float(one["estimate"]) == pytest.approx(0.119)
