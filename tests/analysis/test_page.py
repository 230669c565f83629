"""The page without a browser: what is in it, that it is inert, small and always the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from lang_results import make_lang_results
from page_data import data_of
from page_results import HOSTILE, SECRET, keep_texts, make_hostile_results, make_page_results
from result_folders import make_plan, make_results, save_done, save_failed
from simulated_scores import predictions, save_simulated, simulate, simulate_classes

from xlt.analysis.boundary.measure import boundary
from xlt.analysis.comparisons.family import FAMILIES
from xlt.analysis.page import render_page
from xlt.analysis.trials.collect import collect
from xlt.analysis.trials.scores import load_scores
from xlt.analysis.uncertainty.intervals import CellIntervals
from xlt.data.core.errors import InputError
from xlt.sweep.cli.exit_status import BAD_INPUT, OK
from xlt.sweep.cli.main import main
from xlt.trainables.results.result import Results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_page_results(tmp_path_factory.mktemp("page") / "r", positive="ESG")


@pytest.fixture(scope="module")
def html(results: str) -> str:
    return render_page(collect(results))


MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render_page(collect(make_hostile_results(tmp_path_factory.mktemp("hostile") / "r")))


def test_answers_and_tables_stand_before_verdicts_and_plots(html: str) -> None:
    ids = ["summary", "scores-1", "scores-2", "seeds", "boundary", "claims"]
    ids += ["spread-1", "spread-2"]
    ids += [f"comparisons-{metric}-{by}" for metric in ("auroc", "f1") for by in FAMILIES]
    ids += ["plots", "rows", "trials"]
    places = [html.index(f'<section id="{name}"') for name in ids]
    assert places == sorted(places)
    assert "Table 3: F1" in html and "Table 4: AUROC" in html
    assert "paper 0.691 (0.088)" in html  # elyza x ja0


def test_test_languages_have_tables_and_a_heat_map(tmp_path: Path, html: str) -> None:
    collected = collect(make_lang_results(tmp_path / "r", ["a", "b"]))
    shown = render_page(collected)
    names = ("transfer", "source-cost", "languages", "ranks")
    for metric in ("auroc", "f1"):
        places = [shown.index(f'<section id="{metric}-{name}-section"') for name in names]
        assert places == sorted(places)
    values = data_of(shown)["languages"]["auroc"]
    assert values["langs"] == ["en", "ja", "de", "fr", "zh"]
    assert values["cells"] == ["a × ja0", "a × ja16", "b × ja0", "b × ja16"]
    rows = [row for row in collected.rows if row.cell == ("b", "ja0")]
    by_lang = [collected.records[row.trial_id]["metrics_by_lang"] for row in rows]
    mean, low, high = values["values"][2][2]
    assert mean == pytest.approx(np.mean([own["de"]["auroc"] for own in by_lang]), abs=1e-4)
    assert low < mean < high
    assert "plot-languages" in shown and 'href="#languages"' in shown
    assert "auroc-transfer" in data_of(shown)["files"]
    assert 'id="plot-languages"' not in html and 'href="#languages"' not in html
    in_german = render_page(collect(collected.uri, test_lang="de"))
    assert 'id="plot-languages"' not in in_german


def test_what_is_no_result_looks_like_none(tmp_path: Path) -> None:
    """Miniatures beside published values, and cells on which the runs do not tell."""
    models = ["mini-elyza", "mini-mbert"]
    patterns = ["ja0", "ja16", "ja32", "ja104"]
    uri = make_page_results(tmp_path / "r", models, patterns, num_items=60)
    html = render_page(collect(uri))
    assert html.count("levels are not comparable.</p>") == 2  # Tables 3 and 4
    assert "miniatures, which are not the models that the claims name.</p>" in html
    judged = boundary(collect(uri))
    words = Counter(cell.verdict.word for cell in judged if cell.verdict)
    assert words["reference"] == len(models) and words["undecided"]
    for word, style in (("reference", "none"), ("undecided", "warn")):
        assert f"<b>{words[word]}</b> cells: {word}" in html
        assert html.count(f'badge {style}">{word}<') >= words[word]


def test_claims_are_counted_by_verdict(html: str) -> None:
    (sentence,) = re.findall(r'<p class="sentence">Claims, ours: (.*?)</p>', html)
    table = html[html.index('<table id="table-claims"') :]
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', table[: table.index("</table>")])
    for column, counts in enumerate(sentence.rstrip(".").split("; published: ")):
        verdicts = [re.findall(r"badge [a-z]+\">([^<]+)<", row)[column] for row in rows]
        assert counts == ", ".join(f"{n} {verdict}" for verdict, n in Counter(verdicts).items())
    assert "miniatures" not in sentence  # the models themselves are in this experiment


def test_numbers_are_those_of_the_report(results: str, html: str) -> None:
    collected = collect(results)
    data = data_of(html)
    rows = collected.table.to_pylist()
    for cell in data["cells"]:
        own = [
            r for r in rows if (r["base_model"], r["pattern"]) == (cell["model"], cell["pattern"])
        ]
        shown = [score for _, score in cell["values"]["auroc"]["runs"]]
        assert shown == [round(r["auroc"], 4) for r in own]
        assert cell["curves"]["runs"][0]["roc"][0][-1] == 1
    trials = data["trials"]
    assert trials.pop("draw") is None  # all on the first draw
    assert {len(column) for name, column in trials.items() if name != "values"} == {len(rows)}
    assert trials["id"] == [row["trial_id"] for row in rows]
    assert trials["values"]["f1"] == [round(row["f1"], 4) for row in rows]
    settings = [data["texts"][place] for place in data["lists"][trials["spec"][0]]]
    assert "learning_rate\t5e-05" in settings and "seed\t0" not in settings


def test_worst_rows_are_those_with_the_largest_error(results: str, html: str) -> None:
    collected = collect(results)
    from xlt.analysis.trials.scored_rows import read_test_rows

    trial_id = collected.plan.trial_ids[0]
    rows = read_test_rows(Results(results), trial_id)
    errors = abs(rows.y_true - rows.y_score)
    expected = sorted(zip(rows.ids, errors, strict=True), key=lambda pair: -pair[1])[:10]
    data = data_of(html)
    worst = data["trials"]["worst"][0][::2]
    assert [data["rows"][place][0] for place in worst] == [row_id for row_id, _ in expected]


def test_hard_rows_are_those_that_most_seeds_get_wrong(results: str, html: str) -> None:
    cell = next(iter(load_scores(collect(results)).cells.values()))
    wrong = ((cell.scores >= 0.5) != cell.y_true).sum(axis=0)
    data = data_of(html)
    hard = data["cells"][0]["hard"]
    assert [count for _, count, _ in hard] == sorted(wrong, reverse=True)[:10]
    for place, count, mean in hard:
        k = cell.ids.index(data["rows"][place][0])
        assert (count, mean) == (wrong[k], round(cell.scores[:, k].mean(), 3))


def test_texts_are_shown_where_they_were_kept(tmp_path: Path) -> None:
    uri = make_page_results(tmp_path / "r", ["elyza"], ["ja0"], num_items=20)
    html = render_page(collect(uri))
    assert {len(row) for row in data_of(html)["rows"]} == {2}
    location = Results(uri)
    ids = data_of(html)["rows"][0][0], "row-without-a-place"
    keep_texts(location, ids, f"{HOSTILE}\n" + 500 * "x")
    html = render_page(collect(uri))
    shown = data_of(html)["rows"][0]
    assert shown[2].startswith(f"{HOSTILE} xx") and len(shown[2]) == 401 and shown[2][-1] == "…"
    assert shown[3:] == ["second", "ja", "2022-08-01"]
    assert "row-without-a-place" not in json.dumps(data_of(html)) and HOSTILE not in html
    Path(location.path("experiments/test.texts.parquet")).write_bytes(b"PAR1")
    html = render_page(collect(uri))
    assert "test.texts.parquet cannot be read" in html
    assert {len(row) for row in data_of(html)["rows"]} == {2}


@pytest.mark.parametrize("metric", ["auroc", "f1"])
def test_comparisons_are_those_of_the_command(
    results: str, html: str, metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for by, num in (("pattern", 2), ("model", 2)):
        command = ["compare", results, "--by", by, "--metric", metric, "--format", "csv"]
        assert main(command) == OK
        csv_text, latex = data_of(html)["files"][f"{metric}-by-{by}"]
        assert csv_text == capsys.readouterr().out.removesuffix("\n")
        assert rf"\label{{tab:{metric}-by-{by}}}" in latex and "first:second" in latex
        assert f": a family of {num} comparisons" in html
    assert "This page has 4 such families, each corrected alone." in html


def test_variance_components_are_those_of_the_report(results: str, html: str) -> None:
    """Parts of the variance of a run; one draw, so that draws are no column."""
    found = CellIntervals(load_scores(collect(results))).components("f1")
    lines = list(csv.DictReader(io.StringIO(data_of(html)["files"]["spread-f1"][0])))
    assert [(line["base_model"], line["pattern"]) for line in lines] == list(found)
    assert list(lines[0])[2:] == ["std_seed", "std_item", "std_both"]
    for line, parts in zip(lines, found.values(), strict=True):
        assert float(line["std_item"]) == parts.std("item")
    (shares,) = re.findall(r"of a run&#39;s F1, median over \d+ cells .*?: (.*?)</p>", html)
    assert re.fullmatch(r"seeds [^,]*, test rows [^,]*, runs on rows [^,]*\.", shares)


def test_draws_are_a_variance_component(tmp_path: Path) -> None:
    results = make_results(tmp_path / "r", make_plan(seeds=[0, 1], draws=[0, 1]))
    rng = np.random.default_rng(0)
    cell = simulate(rng, 4, 40, 1.5, 0.3)
    for score, run in zip(cell.scores, itertools.product((0, 1), (0, 1)), strict=True):
        table = predictions(cell.ids, cell.y_true.tolist(), score)
        save_done(results, "elyza", "ja16", run[1], {"f1": 0.5, "auroc": 0.5}, predictions=table,
                  draw_index=run[0])  # fmt: skip
    text = render_page(collect(results))
    heading = text[text.index('<table id="table-spread-f1"') :]
    assert re.findall(r"<th scope=\"col\">([^<]*)", heading)[:7] == [
        "base model", "pattern", "draws", "seeds", "seeds on draws", "test rows", "runs on rows"
    ]  # fmt: skip


def test_too_many_comparisons_are_not_made(results: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlt.analysis.page.certainty.MAX_PAIRS", 1)
    assert "Not shown: 2 pairs are too many to read" in render_page(collect(results))


def test_every_table_is_a_file_twice(html: str) -> None:
    wanted = set(re.findall(r'data-download="([^"]+)"', html))
    files = data_of(html)["files"]
    assert wanted == {f"{name}.{ending}" for name in files for ending in ("csv", "tex")}
    tables = set(re.findall(r'<table id="table-([^"]+)"', html))
    assert tables == set(files)
    for csv_text, latex in files.values():
        assert csv_text.count("\n") > 1 and latex.startswith(r"\begin{table}")


def test_nothing_is_loaded(html: str, hostile: str) -> None:
    for text in (html, hostile):
        assert not re.search(r"""(?:src|srcset|action|poster)\s*=\s*["']?""", _markup(text))
        links = re.findall(r'href="([^"]{0,30})', _markup(text))
        assert links and all(link.startswith("#") for link in links)
        assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", _own_code(text))
        assert "default-src 'none'" in text


def _own_code(text: str) -> str:
    found = [re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S) for tag in ("style", "script")]
    return "".join(code for codes in found for code in codes)


def _markup(text: str) -> str:
    """Tags only, without what scripts and styles hold and without texts."""
    without = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.S)
    return "".join(re.findall(r"<[^>]+>", without))


def test_the_policy_names_the_script_and_the_style_that_are_there(html: str) -> None:
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in html


def test_hostile_names_are_texts(hostile: str) -> None:
    assert HOSTILE not in hostile
    assert hostile.count("<script") == 2 and hostile.count("</script>") == 2
    assert "<img" not in hostile
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in hostile
    assert any(HOSTILE in error for error in data_of(hostile)["trials"]["error"])


def test_no_secrets_and_no_places(hostile: str, html: str, results: str) -> None:
    for text in (hostile, json.dumps(data_of(hostile))):
        assert SECRET not in text and "me:pass" not in text
    for text in (html, json.dumps(data_of(html))):
        assert results not in text and "/nowhere" not in text


def test_the_same_results_give_the_same_bytes(results: str, html: str) -> None:
    assert render_page(collect(results)) == html


def test_the_page_is_small(html: str) -> None:
    assert len(html.encode()) < MEGABYTE / 4


def test_without_a_done_trial_the_rest_is_made(tmp_path: Path) -> None:
    location = make_results(tmp_path / "r", make_plan())
    save_failed(location, "elyza", "ja16", 0, "out of memory")
    html = render_page(collect(location))
    assert "Not shown: no cell has a value yet." in html
    assert "Not shown: no trial is done." in html
    assert "1 failed, 2 missing" in html
    assert "out of memory" in html and data_of(html)["trials"]["error"][0] == "out of memory"


def test_one_class_leaves_a_sentence(tmp_path: Path) -> None:
    location = make_results(tmp_path / "r", make_plan(seeds=[0]))
    table = predictions(["a", "b"], [1, 1], [0.4, 0.6])
    save_done(location, "elyza", "ja16", 0, {"f1": 0.5, "auroc": 0.5}, predictions=table)
    html = render_page(collect(location))
    assert "predictions without test rows of both classes" in html
    assert "all test rows are of one class" in data_of(html)["cells"][0]["why"]
    assert any("history without epoch, loss" in why for why in data_of(html)["trials"]["absent"][0])
    assert "0.500 (n/a)" in html


def test_more_than_two_classes(tmp_path: Path) -> None:
    plan = make_plan(["other"], ["ja0", "ja16"], classes=tuple("abcdefg"))
    location = make_results(tmp_path / "r", plan)
    rng = np.random.default_rng(0)
    cells = {p: simulate_classes(rng, 3, 140, 7, d, 0.1) for p, d in (("ja0", 0.5), ("ja16", 3.0))}
    for pattern, cell in cells.items():
        save_simulated(location, "other", pattern, cell, cell.ids)
    html = render_page(collect(location))
    assert "Macro F1" in html and "Carried over" in html
    assert "no base model of this experiment is one of the paper" in html
    assert "the Macro F1 of 1 (other 0.2" in html and "always calling the most frequent" in html
    assert "16 target rows raise" in html and "the Macro F1 of 1 of 1 (other +0." in html
    assert "another class has the largest probability" in html and "positive:" not in html
    data = data_of(html)
    assert data["cells"][0]["curves"] is None and len(data["cells"][0]["confusion"]) == 7
    assert list(data["metrics"]) == ["macro_f1", "auroc_ovr"]
    assert all(data["cells"][0]["values"][metric]["interval"] for metric in data["metrics"])
    scores, y_true = cells["ja0"].scores, cells["ja0"].y_true
    wrong = (scores.argmax(axis=2) != y_true).sum(axis=0)
    place, num_wrong, mean = data["cells"][0]["hard"][0]
    row = int(data["rows"][place][0])
    assert (num_wrong, data["rows"][place][1]) == (wrong.max(), y_true[row])
    assert mean == pytest.approx(scores[:, row, y_true[row]].mean(), abs=5e-4)
    worst = data["trials"]["worst"][0]
    assert worst[1] == pytest.approx(scores[0, np.arange(140), y_true].min(), abs=5e-4)


def test_from_the_command_line(
    results: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert main(["report", results, "--format", "html", "--out", str(out)]) == OK
    assert out.read_text("utf-8") == render_page(collect(results))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert main(["report", results, "--out", str(tmp_path / "report.txt")]) == OK
    assert "Table 3" in (tmp_path / "report.txt").read_text()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "html"], "give --out FILE"),
        (
            ["--format", "htm"],
            "Did you mean 'html'? Known: csv, eee, html, latex, md, parquet, text.",
        ),
        (["--format", "html", "--out", "/nowhere/report.html"], "cannot be written"),
        (
            ["--format", "html", "--out", "/nowhere/r", "--interval-method", "z"],
            "unknown interval 'z'",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    results: str, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", results, *options]) == BAD_INPUT
    assert told in capsys.readouterr().err


def test_an_unknown_method_is_refused(results: str) -> None:
    with pytest.raises(InputError, match="unknown interval"):
        render_page(collect(results), "none")
