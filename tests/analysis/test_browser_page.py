"""The page in a real Chromium: no network, no errors, keyboard, colours, print, accessibility."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium
from explained_results import Text, explained
from lang_results import make_lang_results
from page_results import HOSTILE, keep_texts, make_hostile_results, make_page_results
from result_folders import make_plan, make_results
from simulated_scores import save_simulated, simulate_classes

from xlt.analysis.page import render_page
from xlt.analysis.page.build import Watched, build_content, fill_template
from xlt.analysis.trials.collect import collect

pytestmark = [
    pytest.mark.browser,
    needs_chromium,
]
NUM_TRIALS, MOST_SECONDS, MOST_BYTES = 10_000, 10, 6_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("browser")
    collected = collect(make_page_results(made / "r", positive="ESG"))
    (made / "page.html").write_text(render_page(collected), "utf-8")
    explained_page = collect(make_explained(made / "e"))
    (made / "explained.html").write_text(render_page(explained_page), "utf-8")
    classes = make_results(made / "c", make_plan(seeds=[0, 1], classes=("arts", "sport", "waste")))
    cell = simulate_classes(np.random.default_rng(0), 2, 60, 3, 1.0, 0.1)
    save_simulated(classes, "elyza", "ja16", cell, cell.ids)
    (made / "classes.html").write_text(render_page(collect(classes)), "utf-8")
    langs = collect(make_lang_results(made / "l"))
    (made / "langs.html").write_text(render_page(langs), "utf-8")
    hostile = collect(make_hostile_results(made / "h"))
    (made / "hostile.html").write_text(render_page(hostile), "utf-8")
    (made / "large.html").write_text(fill_template(_large(build_content(collected))), "utf-8")
    return made


def make_explained(folder: Path) -> str:
    """A cell of two runs and 30 texts, every third about 炭, one with a character of two halves."""
    texts: list[Text] = [(["株", "価"], [-0.2, 0.01], 0.4)] * 30
    texts[::3] = [(["😀", "炭", HOSTILE], [0.0, 0.5, -0.2], 0.9)] * 10
    made = explained(folder, {"ja0": [texts, texts]})
    keep_texts(made, ["t000"], "kept")
    return made.uri


def _large(shown: dict[str, Any]) -> dict[str, Any]:
    """The same content with NUM_TRIALS trials in 200 cells, numbers and ids at random."""
    rng, data = np.random.default_rng(0), shown["data"]
    cells = []
    for number in range(200):
        cell = copy.deepcopy(data["cells"][0])
        for value in cell["values"].values():
            scores = rng.random(NUM_TRIALS // 200).round(4).tolist()
            value["runs"] = [[f"seed {k}", score] for k, score in enumerate(scores)]
        cells.append(cell | {"model": f"model-{number // 10:02}", "pattern": f"ja{number % 10}"})
    trials = {
        name: column and column[:1] * NUM_TRIALS
        for name, column in data["trials"].items()
        if name != "values"
    }
    trials |= {
        "id": [f"trial-{k:05}-{rng.integers(16**12):012x}" for k in range(NUM_TRIALS)],
        "cell": [k % 200 for k in range(NUM_TRIALS)],
        "seed": [k // 200 for k in range(NUM_TRIALS)],
        "loss": rng.random((NUM_TRIALS, 12)).round(3).tolist(),
        "worst": [
            [number for row in one for number in (row, 0.987)]
            for one in rng.integers(len(data["rows"]), size=(NUM_TRIALS, 4)).tolist()
        ],
        "values": {m: rng.random(NUM_TRIALS).round(4).tolist() for m in data["trials"]["values"]},
    }
    trials["epochs"] = [len(data["lists"])] * NUM_TRIALS
    data |= {"cells": cells, "trials": trials, "lists": [*data["lists"], list(range(12))]}
    return shown


class Opened:
    """A page with everything that it did wrong."""

    def __init__(self, browser: Any, file: Path, wait: bool = True, **options: Any) -> None:
        self.wrong: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("dialog"), dialog.dismiss()))
        self.page.route("**/*", self._route)
        self.page.goto(file.as_uri())
        if wait:
            self.page.wait_for_selector("html[data-ready]")

    def _route(self, route: Any) -> None:
        if route.request.url.startswith("file:") and route.request.is_navigation_request():
            route.continue_()
        else:
            self.wrong.append(route.request.url)
            route.abort()


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    made: list[Opened] = []

    def open_page(name: str = "page.html", **options: Any) -> Opened:
        made.append(Opened(browser, folder / name, **options))
        return made[-1]

    yield open_page
    for one in made:
        one.page.close()
        assert one.wrong == []


def test_it_opens_and_draws_every_plot(opened: Any) -> None:
    tab = opened().page
    plots = tab.locator("#plots svg")
    assert plots.count() == 5
    for cell in ("1", "3"):
        tab.select_option("#cell", cell)
    tab.select_option("#metric", "auroc")
    assert "AUROC" in (plots.first.get_attribute("aria-label") or "")
    tab.locator("#plot-seeds circle").first.hover()
    assert "seed" in tab.locator("#tip").inner_text()


def test_more_than_two_classes_have_a_matrix(opened: Any) -> None:
    tab = opened("classes.html").page
    assert tab.locator("#plots svg").count() == 2
    boxes = tab.locator("#plot-confusion rect")
    assert boxes.count() == 9
    total = sum(
        int(text) for text in tab.locator("#plot-confusion .strong").all_text_contents()[3:]
    )
    assert total == 2 * 60
    boxes.nth(4).hover()
    assert re.search(r"sport, called sport\n\d+ of 40", tab.locator("#tip").inner_text())
    tab.locator(".open").first.click()
    assert "probability of the right class" in tab.locator("#details-body").inner_text()


def test_test_languages_are_a_heat_map_and_tables_of_one_metric(opened: Any) -> None:
    tab = opened("langs.html").page
    plot = tab.locator("#plot-languages svg")
    assert plot.locator("rect.heat").count() == 5 * 6  # languages x cells
    assert "95 % interval" in (plot.locator("rect.heat").first.get_attribute("data-tip") or "")
    means = tab.locator("#plot-heat rect.heat")
    assert means.count() == 3 * 2
    assert tab.locator("#auroc-transfer-section").is_visible()
    assert not tab.locator("#f1-transfer-section").is_visible()


def test_something_wrong_is_noticed(browser: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<img src='https://example.org/x.png'><script>throw Error('no')</script>")
    bad = Opened(browser, file, wait=False)
    bad.page.wait_for_timeout(200)
    assert any("example.org" in text for text in bad.wrong) and any("no" in t for t in bad.wrong)
    bad.page.close()


def test_tables_sort_by_number_both_ways(opened: Any) -> None:
    tab = opened().page
    column = tab.locator("#table-trials thead th", has_text="AUROC")
    rows = "[...document.querySelectorAll('#table-trials tbody tr')]"
    values = f"{rows}.map(row => +row.cells[6].textContent)"
    for direction, descending in (("ascending", False), ("descending", True)):
        column.locator("button").click()
        assert column.get_attribute("aria-sort") == direction
        found = tab.evaluate(values)
        assert found == sorted(found, reverse=descending) and len(set(found)) > 1


def test_tables_filter_by_words(opened: Any) -> None:
    tab = opened().page
    tab.fill("#trial-filter", "mbert JA104")
    assert tab.locator("#table-trials tbody tr").count() == 3
    assert tab.locator("#trial-count").inner_text() == "3 of 12 trials"
    tab.fill("#trial-filter", "")
    assert tab.locator("#table-trials tbody tr").count() == 12
    tab.fill('[data-filter="f1"]', "mbert")
    assert tab.locator("#table-f1 tbody tr:visible").count() == 1
    assert tab.locator('[data-count="f1"]').inner_text() == "1 of 2 rows"


def test_one_metric_is_compared_at_a_time(opened: Any) -> None:
    tab = opened().page
    for metric, other in (("auroc", "f1"), ("f1", "auroc")):
        tab.select_option("#compared", metric)
        assert tab.locator(f"#comparisons-{metric}-pattern").is_visible()
        assert not tab.locator(f"#comparisons-{other}-pattern").is_visible()
    assert tab.locator("#table-spread-f1 tbody tr").count() == 4


def test_a_trial_opens_and_closes_by_keyboard(opened: Any) -> None:
    tab = opened().page
    button = tab.locator(".open").first
    button.focus()
    tab.keyboard.press("Enter")
    body = tab.locator("#details")
    assert body.is_visible()
    text = body.inner_text()
    for part in (
        "Metrics",
        "Training",
        "Test rows with the largest error",
        "Settings",
        "Made with",
    ):
        assert part in text
    assert "learning_rate" in text and "git_commit" in text
    tab.keyboard.press("Escape")
    assert not body.is_visible()
    assert tab.evaluate("document.activeElement.dataset.trial") == button.get_attribute(
        "data-trial"
    )


def test_the_first_tab_skips_to_the_results(opened: Any) -> None:
    tab = opened().page
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_downloads_hold_the_tables(opened: Any) -> None:
    tab = opened().page
    for name, start in (
        ("f1.csv", "base_model,pattern,metric"),
        ("auroc-by-pattern.csv", "metric,first,second"),
        ("trials.csv", "trial,base model,pattern,draw,seed,state,F1"),
        ("f1.tex", r"\begin{table}"),
    ):
        with tab.expect_download() as download:
            tab.locator(f'[data-download="{name}"]').click()
        assert download.value.suggested_filename == f"test-{name}"
        assert Path(download.value.path()).read_text("utf-8").startswith(start)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_colours_and_widths(opened: Any, scheme: str, width: int) -> None:
    tab = opened(color_scheme=scheme, viewport={"width": width, "height": 800}).page
    back = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in back.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (max(levels) < 60) == (scheme == "dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    _check_accessibility(tab)
    tab.locator(".open").first.click()
    _check_accessibility(tab)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_in_colours_can_be_read(opened: Any, scheme: str) -> None:
    _check_accessibility(opened("explained.html", color_scheme=scheme).page)


def _check_accessibility(tab: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe adds its script to the page by the debugger, which the policy does not hold back.
    found = axe.run(tab).response["violations"]
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    serious = [f"{one['id']}: {one['nodes'][0]['html']}" for one in bad]
    assert serious == []


def test_print_shows_tables_whole_and_on_white(opened: Any) -> None:
    tab = opened(color_scheme="dark").page
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("nav").is_visible()
    assert tab.locator("#table-f1").is_visible()
    assert tab.pdf()[:5] == b"%PDF-"


def test_texts_in_colours_are_found_by_token(opened: Any) -> None:
    tab = opened("explained.html").page
    texts = tab.locator("#coloured-texts li")
    assert texts.count() == 20
    tab.click("#coloured-next")
    assert texts.count() == 10
    tab.fill("#coloured-token", "炭")
    assert texts.count() == 10
    assert tab.inner_text("#coloured-count") == "10 texts, mean +0.500 per token; largest first"
    first = texts.first
    assert first.locator("p").inner_text() == f"😀 炭 {HOSTILE}"
    marks = first.locator("span")
    assert [marks.nth(k).inner_text() for k in range(3)] == ["😀", "炭", HOSTILE]
    assert [marks.nth(k).get_attribute("class") for k in range(3)] == ["plus", "plus", "minus"]
    assert float(marks.nth(1).evaluate("e => e.style.getPropertyValue('--share')")) > 0.4
    tab.fill("#coloured-token", "nowhere")
    assert texts.count() == 0 and tab.inner_text("#coloured-count") == "0 texts"


def test_hostile_names_stay_texts(opened: Any) -> None:
    tab = opened("hostile.html").page
    failed = tab.locator("#table-trials tbody tr", has_text="failed")
    failed.locator(".open").click()
    assert HOSTILE in tab.locator("#details pre").inner_text()
    tab.keyboard.press("Escape")
    tab.locator(".open").first.click()
    assert f"text {HOSTILE}" in tab.locator("#details table").inner_text()
    tab.keyboard.press("Escape")
    assert f"text {HOSTILE}" in tab.locator("#hard table").inner_text()
    tab.select_option("#cell", "1")
    assert tab.locator("img").count() == 0 and tab.locator("script").count() == 2


def test_ten_thousand_trials_open_and_stay_usable(opened: Any, folder: Path) -> None:
    assert (folder / "large.html").stat().st_size < MOST_BYTES
    start = time.perf_counter()
    tab = opened("large.html").page
    assert tab.locator("#plot-heat svg").count() == 1
    assert tab.locator("#trial-count").inner_text() == f"1 to 100 of {NUM_TRIALS} trials"
    assert time.perf_counter() - start < MOST_SECONDS
    start = time.perf_counter()
    tab.fill("#trial-filter", "trial-01234")
    tab.locator("#table-trials .open").click()
    assert "trial-01234" in tab.locator("#details-title").inner_text()
    assert tab.locator("#details svg").count() == 1
    tab.keyboard.press("Escape")
    tab.fill("#trial-filter", "model-03 ja4 done")
    assert tab.locator("#trial-count").inner_text() == f"50 of {NUM_TRIALS} trials"
    tab.fill("#trial-filter", "")
    tab.locator("#table-trials thead button").nth(5).click()
    scores = tab.locator("#table-trials td:nth-child(6)")
    first = list(map(float, scores.all_inner_texts()))
    tab.click("#trial-next")
    assert tab.locator("#trial-count").inner_text() == f"101 to 200 of {NUM_TRIALS} trials"
    second = [
        float(text) for text in tab.locator("#table-trials td:nth-child(6)").all_inner_texts()
    ]
    assert first + second == sorted(first + second) and len(second) == 100
    assert time.perf_counter() - start < MOST_SECONDS
    assert tab.evaluate("document.querySelectorAll('*').length") < 15_000


def test_a_watched_page_loads_itself_again_where_it_was(opened: Any, folder: Path) -> None:
    file = folder / "watched.html"
    shown = build_content(collect(make_page_results(folder / "w")))
    file.write_text(fill_template(shown, Watched(1)), "utf-8")
    tab = opened("watched.html", viewport={"width": 1000, "height": 600}).page
    assert "12 of 12 trials done" in tab.locator(".watch").inner_text()
    tab.evaluate("window.scrollTo({top: 700, behavior: 'instant'})")
    file.write_text(fill_template(shown | {"num_done": 11}, Watched(1)), "utf-8")
    tab.get_by_text("11 of 12 trials done").wait_for()
    tab.wait_for_selector("html[data-ready]")
    assert tab.evaluate("scrollY") == 700
    tab.locator(".open").first.click()  # who reads a trial is left alone
    file.write_text(fill_template(shown), "utf-8")
    tab.wait_for_timeout(1500)
    assert tab.locator("#details").is_visible()
    tab.keyboard.press("Escape")
    tab.locator(".watch").wait_for(state="detached")  # over: the last page is an ordinary one
