"""The real LIT, installed by our command, on real trials, in Chromium: `make lit`."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from served_lit import Served, edited, environment, results, shown, stored
from waiting import wait_for

from xlt.analysis.lit_export import LitExport, write_export
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.sweep.lit.server import serve

__all__ = ["environment", "results"]  # fixtures

pytestmark = [
    pytest.mark.lit,
    needs_chromium,
]


@pytest.fixture(scope="module")
def served(results: str, environment: Path, tmp_path_factory: Any) -> Iterator[Served]:
    made = Served(results, environment, tmp_path_factory.mktemp("served"))
    yield made
    assert made.end(signal.SIGINT) == 0
    assert not made.answers()


@pytest.fixture(scope="module")
def wrong() -> list[str]:
    """Everything that the page did wrong."""
    return []


@pytest.fixture(scope="module")
def page(browser: Any, served: Served, wrong: list[str]) -> Any:
    tab = browser.new_page(viewport={"width": 1600, "height": 1000})
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda r: None if _is_own(r.url, served) else wrong.append(r.url))
    tab.goto(served.url)
    tab.locator("lit-data-table tbody tr").first.wait_for()
    return tab


def _is_own(url: str, served: Served) -> bool:
    return url.startswith((served.root, "data:", "blob:"))


def test_headline_and_contributions(
    page: Any, results: str, wrong: list[str], tmp_path: Path
) -> None:
    assert page.evaluate("document.documentElement.lang") == "ja"
    text, among = next(iter(stored(results, "llama"))), "|".join(stored(results, "llama"))
    assert re.search(r"[\u3040-\u9fff]", text)
    page.locator("lit-data-table tbody tr", has_text=text).first.click()
    models = ("llama", "gpt_neox", "bert")
    wait_for(lambda: len([one for one in shown(page) if one]) == len(models))
    for number, name in enumerate(models):
        module = page.locator("salience-map-module").nth(number)
        target = module.locator("select").nth(1)
        for chosen, sign in (("ESG", 1), ("not ESG", -1)):
            target.select_option(chosen)
            pieces, coefficients = stored(results, name)[text]
            expected = [float(f"{sign * value:.3g}") for value in coefficients]
            wait_for(lambda n=number, e=expected: [v for _, v in shown(page)[n]] == e)
            assert [token for token, _ in shown(page)[number]] == [one.strip() for one in pieces]
        target.select_option("ESG")
    page.wait_for_timeout(1000)
    folder = Path(os.environ.get("XLT_SCREENSHOTS", tmp_path))
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / "lit.png")
    for tab in ("Scores", "Metrics"):
        page.get_by_text(tab, exact=True).first.click()
        page.wait_for_timeout(1000)
        page.screenshot(path=folder / f"lit-{tab.lower()}.png")
    page.locator("lit-data-table tbody tr").filter(has_not_text=re.compile(among)).first.click()
    wait_for(lambda: shown(page) == [[], [], []])
    assert wrong == []


def test_fonts_are_there(page: Any) -> None:
    loaded = "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
    assert "Material Icons" in " ".join(page.evaluate(loaded))


def test_metrics_are_ours(served: Served, results: str) -> None:
    """LIT computes them from the exported probabilities by scikit-learn."""
    (dataset,) = (name for name in served.ask("get_info")["datasets"] if "test" in name)
    name = urllib.request.quote(dataset)
    rows = served.ask(f"get_dataset?dataset_name={name}")
    for trial in collect(results).table.to_pylist():
        model = urllib.request.quote(f"{trial['base_model']} ja8 seed 0")
        path = f"get_metrics?model={model}&dataset_name={name}&metrics=multiclass"
        (told,) = served.ask(path, {"inputs": [row["id"] for row in rows]})["multiclass"]
        for ours, theirs in (("accuracy", "accuracy"), ("f1", "f1"), ("auroc", "auc")):
            assert told["metrics"][theirs] == pytest.approx(trial[ours]), ours


def test_an_edited_text_has_no_prediction(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        served.ask("get_preds?model=llama%20ja8%20seed%200", edited("other"))
    assert "an edited text has no stored prediction" in raised.value.read().decode()


def test_other_names_and_other_files_are_refused(served: Served, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        served.ask("get_info", Host="rebound.example:80")
    name = urllib.request.quote("test rows (ja)")
    path = urllib.request.quote(str(tmp_path / "written"))
    assert served.ask(f"save_datapoints?dataset_name={name}&path={path}", {"inputs": []}) is None
    assert list(tmp_path.iterdir()) == []


def test_killed_it_leaves_neither_process_nor_texts(
    results: str, environment: Path, tmp_path: Path
) -> None:
    made = Served(results, environment, tmp_path)
    assert made.answers()
    made.end(signal.SIGKILL)
    wait_for(lambda: not made.answers())
    assert list(tmp_path.iterdir()) == []


HOSTILE = "<img src=x onerror=alert(1)>悪意"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two languages, a trial each."""
    files: dict[str, list[dict[str, Any]]] = {}
    datasets, models = [], []
    for lang in ("ja", "de"):
        row = {"id": "1", "text": f"{HOSTILE}\n{lang}", "language": lang, "label": "yes"}
        files[f"headlines-{lang}.jsonl"] = [row]
        said = {"id": "1", "probabilities": [0.25, 0.75], "tokens": [HOSTILE], "salience": [0.5]}
        files[f"{lang}.jsonl"] = [said]
        datasets.append({"name": lang, "file": f"headlines-{lang}.jsonl", "language": lang})
        model = {"name": f"m {lang}", "file": f"{lang}.jsonl", "dataset": lang, "trial_id": lang}
        models.append({**model, "method": "ig", "settings": {}})
    manifest = {"format": 1, "experiment": "t", "title": HOSTILE, "classes": ["no", "yes"]}
    manifest |= {"datasets": datasets, "models": models, "notes": [HOSTILE]}
    write_export(LitExport(manifest, files), tmp_path)
    return tmp_path


def test_languages_stay_apart_and_texts_stay_texts(
    browser: Any, environment: Path, export: Path
) -> None:
    dialogs: list[str] = []
    with serve(export, environment, "::1", 0) as server:
        root, _, opened = server.url.partition("?")
        assert opened == "models=m+ja"
        request = urllib.request.Request(f"{root}get_info", method="POST")
        with urllib.request.urlopen(request) as answer:
            told = json.load(answer)["models"]
        for lang in ("ja", "de"):  # and LIT's own one without rows
            assert told[f"m {lang}"]["datasets"] == [lang, "_union_empty"]
        tab = browser.new_page()
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        tab.goto(server.url)
        tab.locator("lit-data-table tbody tr", has_text="悪意").first.click()
        wait_for(lambda: shown(tab) == [[(HOSTILE, 0.5)]])
        tab.close()
    assert dialogs == []


def test_an_early_end_tells_its_reason(environment: Path, export: Path) -> None:
    (export / "headlines-ja.jsonl").unlink()
    with (
        pytest.raises(InputError, match=r"ended with status 1.*FileNotFoundError"),
        serve(export, environment, "127.0.0.1", 0),
    ):
        pass
