"""The page in a real Chromium: no network, no errors, keyboard, colours, print, accessibility."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_results import HOSTILE, make_hostile_results, make_page_results

from analysis import collect
from analysis.page import page
from analysis.page.build import content, render
from analysis.page.shown import Entry

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the path"),
]
NUM_TRIALS, MOST_SECONDS, MOST_BYTES = 2000, 5, 6_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("browser")
    collected = collect(make_page_results(made / "r", positive="ESG"))
    (made / "page.html").write_text(page(collected), "utf-8")
    hostile = collect(make_hostile_results(made / "h"))
    (made / "hostile.html").write_text(page(hostile), "utf-8")
    (made / "large.html").write_text(render(_large(content(collected))), "utf-8")
    return made


def _large(shown: dict[str, Any]) -> dict[str, Any]:
    """The same content with NUM_TRIALS trials in 400 cells."""
    data, row = shown["data"], shown["trials"].rows[0]
    trial = next(iter(data["trials"].values()))
    ids = [f"trial-{number:04}" for number in range(NUM_TRIALS)]
    data["trials"] = {name: trial for name in ids}
    rows = tuple((Entry(name, trial=name), *row[1:]) for name in ids)
    cells = []
    for number in range(400):
        cell = copy.copy(data["cells"][0])
        cells.append(cell | {"model": f"model-{number // 8:02}", "pattern": f"ja{number % 8}"})
    data["cells"] = cells
    return shown | {"trials": dataclasses.replace(shown["trials"], rows=rows)}


class Opened:
    """A page with everything that it did wrong."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.wrong: list[str] = []
        self.page = browser.new_page(**options)
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("dialog"), dialog.dismiss()))
        self.page.route("**/*", self._route)
        self.page.goto(file.as_uri())

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
    assert plots.count() == 6
    for cell in ("1", "3"):
        tab.select_option("#cell", cell)
    tab.select_option("#metric", "auroc")
    assert "AUROC" in (plots.first.get_attribute("aria-label") or "")
    tab.locator("#plot-seeds circle").first.hover()
    assert "seed" in tab.locator("#tip").inner_text()


def test_something_wrong_is_noticed(browser: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<img src='https://example.org/x.png'><script>throw Error('no')</script>")
    bad = Opened(browser, file)
    bad.page.wait_for_timeout(200)
    assert any("example.org" in text for text in bad.wrong) and any("no" in t for t in bad.wrong)
    bad.page.close()


def test_tables_sort_by_number_both_ways(opened: Any) -> None:
    tab = opened().page
    column = tab.locator("#table-trials thead th", has_text="AUROC")
    rows = "[...document.querySelectorAll('#table-trials tbody tr')]"
    values = f"{rows}.map(row => +row.cells[6].dataset.value)"
    for direction, descending in (("ascending", False), ("descending", True)):
        column.locator("button").click()
        assert column.get_attribute("aria-sort") == direction
        found = tab.evaluate(values)
        assert found == sorted(found, reverse=descending) and len(set(found)) > 1


def test_tables_filter_by_words(opened: Any) -> None:
    tab = opened().page
    tab.fill('[data-filter="trials"]', "mbert JA104")
    assert tab.locator("#table-trials tbody tr:visible").count() == 3
    assert tab.locator('[data-count="trials"]').inner_text() == "3 of 12 rows"
    tab.fill('[data-filter="trials"]', "")
    assert tab.locator("#table-trials tbody tr:visible").count() == 12


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
    for ending, start in ((".csv", "base_model,pattern,metric"), (".tex", r"\begin{table}")):
        with tab.expect_download() as download:
            tab.locator(f'a[download="test-f1{ending}"]').click()
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


def test_hostile_names_stay_texts(opened: Any) -> None:
    tab = opened("hostile.html").page
    failed = tab.locator("#table-trials tbody tr", has_text="failed")
    failed.locator(".open").click()
    assert HOSTILE in tab.locator("#details pre").inner_text()
    tab.keyboard.press("Escape")
    tab.locator(".open").first.click()
    assert HOSTILE in tab.locator("#details table").inner_text()
    tab.keyboard.press("Escape")
    tab.select_option("#cell", "1")
    assert tab.locator("img").count() == 0 and tab.locator("script").count() == 2


def test_thousands_of_trials_open_and_stay_usable(opened: Any, folder: Path) -> None:
    assert (folder / "large.html").stat().st_size < MOST_BYTES
    start = time.perf_counter()
    tab = opened("large.html").page
    assert tab.locator("#plot-heat svg").count() == 1
    assert time.perf_counter() - start < MOST_SECONDS
    start = time.perf_counter()
    tab.fill('[data-filter="trials"]', "trial-1234")
    tab.locator("#table-trials tbody tr:visible .open").click()
    assert "trial-1234" in tab.locator("#details-title").inner_text()
    tab.keyboard.press("Escape")
    tab.fill('[data-filter="trials"]', "")
    tab.locator("#table-trials thead button").nth(5).click()
    assert tab.locator("#table-trials tbody tr").count() == NUM_TRIALS
    assert time.perf_counter() - start < MOST_SECONDS
