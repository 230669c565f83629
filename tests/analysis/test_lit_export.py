"""Export for LIT: content of the files, rows that are left out, refused input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_folders import make_plan, make_results, save_done

from xlt.analysis.lit_export import (
    MANIFEST,
    MOST_TRIALS,
    LitExport,
    is_export,
    lit_export,
    read_manifest,
    write_export,
)
from xlt.analysis.trials.collect import collect
from xlt.data.core.errors import InputError
from xlt.data.core.files import to_parquet
from xlt.trainables.results.attributions import (
    COLUMNS,
    LATER_COLUMNS,
    Attributions,
    read_attributions,
    save_attributions,
)
from xlt.trainables.results.plan import Plan
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import SCHEMA

TEXTS = {"a": "炭素の目標", "b": "株価が上昇", "c": "取締役会"}
SCORES = {"a": 0.75, "b": 0.25, "c": 0.5}
LABELS = {"a": 1, "b": 0, "c": 1}
METRICS = {"f1": 0.5}


def predictions(scores: Mapping[str, float] = SCORES) -> pa.Table:
    rows = [
        {"id": i, "split": "test", "y_true": LABELS.get(i, 0), "y_score": score}
        for i, score in scores.items()
    ]
    return pa.Table.from_pylist(rows)


def save_texts(results: Results, texts: Mapping[str, str], pair: str | None = None) -> None:
    rows = [
        {"id": i, "lang": "ja", "label": "positive", "text": text, "text_pair": pair}
        for i, text in texts.items()
    ]
    content = to_parquet(pa.Table.from_pylist(rows, schema=SCHEMA))
    results.write("experiments/test.texts.parquet", content)


def save_explained(results: Results, trial_id: str, ids: Sequence[str] = ("a", "b", "c")) -> None:
    rows = []
    for number, i in enumerate(ids):
        row: dict[str, Any] = dict.fromkeys(COLUMNS.names, 0.0)
        row |= {"id": i, "lang": "ja", "y_true": LABELS[i], "text": TEXTS[i]}
        row |= {"pieces": list(TEXTS[i][:3]), "coefficients": [0.5, -0.25, number / 8]}
        row |= {key: [0, 1, 2] for key in ("token_ids", "starts", "ends")}
        rows.append(row | {"standard_errors": [0.0, 0.0, 0.0]})
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    save_attributions(results, trial_id, Attributions({"method": "lime", "num_samples": 9}, table))


def made(folder: Path, plan: Plan | None = None, texts: Mapping[str, str] = TEXTS) -> Results:
    """Results of two seeds, both done, the first one explained."""
    results = make_results(folder, plan or make_plan(seeds=(0, 1), positive="ESG"))
    first = save_done(results, "elyza", "ja16", 0, METRICS, predictions=predictions())
    save_done(results, "elyza", "ja16", 1, METRICS, predictions=predictions())
    save_explained(results, first)
    if texts:
        save_texts(results, texts)
    return results


def test_an_export_has_a_data_set_and_one_file_per_trial(tmp_path: Path) -> None:
    export = lit_export(collect(made(tmp_path)))
    assert export.manifest["classes"] == ["not ESG", "ESG"]
    assert export.manifest["datasets"] == [
        {"name": "test rows (ja)", "file": "headlines-ja.jsonl", "language": "ja"}
    ]
    first, second = export.manifest["models"]
    assert (first["name"], second["name"]) == ("elyza ja16 seed 0", "elyza ja16 seed 1")
    assert first["settings"]["num_samples"] == 9 and "method" not in second
    assert export.manifest["notes"] == [
        f"elyza ja16 seed 1 has only predictions: no attributions by lime; `xlt explain "
        f"{tmp_path} --method lime` computes them"
    ]
    assert export.files["headlines-ja.jsonl"] == [
        {"id": "a", "text": "炭素の目標", "language": "ja", "label": "ESG"},
        {"id": "b", "text": "株価が上昇", "language": "ja", "label": "not ESG"},
        {"id": "c", "text": "取締役会", "language": "ja", "label": "ESG"},
    ]
    assert export.files[first["file"]][0] == {
        "id": "a",
        "probabilities": [0.25, 0.75],
        "tokens": ["炭", "素", "の"],
        "salience": [0.5, -0.25, 0.0],
    }
    assert [row["probabilities"][1] for row in export.files[second["file"]]] == [0.75, 0.25, 0.5]
    assert {tuple(row["tokens"]) for row in export.files[second["file"]]} == {()}


def test_only_some_seeds(tmp_path: Path) -> None:
    collected = collect(made(tmp_path))
    names = [model["name"] for model in lit_export(collected, seeds=[1]).manifest["models"]]
    assert names == ["elyza ja16 seed 1"]
    with pytest.raises(InputError, match=r"no seed 2, 3\. Known: 0, 1\."):
        lit_export(collected, seeds=[3, 0, 2])


def test_texts_of_attributions_replace_missing_texts(tmp_path: Path) -> None:
    results = made(tmp_path, texts={})
    export = lit_export(collect(results))
    assert [row["text"] for row in export.files["headlines-ja.jsonl"]] == list(TEXTS.values())


def test_rows_without_a_text_are_left_out_and_counted(tmp_path: Path) -> None:
    results = made(tmp_path, texts={})
    trial = collect(results).table["trial_id"][0].as_py()
    save_explained(results, trial, ["b"])
    export = lit_export(collect(results))
    assert [row["id"] for row in export.files["headlines-ja.jsonl"]] == ["b"]
    assert [row["id"] for row in export.files[f"{trial}.jsonl"]] == ["b"]
    assert export.manifest["notes"][-1] == "2 of 3 test rows (ja) have no text and are left out"


def test_no_texts_at_all(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_plan(seeds=(0,)))
    save_done(results, "elyza", "ja16", 0, METRICS, predictions=predictions())
    with pytest.raises(InputError, match=r"no texts of the test rows.*keep_texts.*`xlt explain`"):
        lit_export(collect(results))


def test_missing_and_unusable_trials_are_noted(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_plan(seeds=(0, 1, 2)))
    save_texts(results, TEXTS)
    with pytest.raises(InputError, match="none of 3 trials is done"):
        lit_export(collect(results))
    save_done(results, "elyza", "ja16", 0, METRICS, predictions=pa.table({"id": ["a"]}))
    with pytest.raises(InputError, match="nothing to show"):
        lit_export(collect(results))
    save_done(results, "elyza", "ja16", 1, METRICS, predictions=predictions())
    export = lit_export(collect(results))
    assert [model["name"] for model in export.manifest["models"]] == ["elyza ja16 seed 1"]
    told = "\n".join(export.manifest["notes"])
    assert "elyza ja16 seed 2 is missing" in told and "elyza ja16 seed 0 is left out: " in told


def test_more_than_a_dozen_trials_are_refused(tmp_path: Path) -> None:
    seeds = range(MOST_TRIALS + 1)
    results = make_results(tmp_path, make_plan(seeds=seeds))
    save_texts(results, TEXTS)
    for seed in seeds:
        save_done(results, "elyza", "ja16", seed, METRICS, predictions=predictions())
    collected = collect(results)
    with pytest.raises(InputError, match=r"13 done trials; LIT shows at most 12.*--only model="):
        lit_export(collected)
    assert len(lit_export(collected, seeds=seeds[1:]).manifest["models"]) == MOST_TRIALS


def test_trials_of_other_rows_are_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_plan(seeds=(0, 1)))
    save_texts(results, TEXTS)
    save_done(results, "elyza", "ja16", 0, METRICS, predictions=predictions())
    fewer = predictions({"a": 0.5, "b": 0.5})
    save_done(results, "elyza", "ja16", 1, METRICS, predictions=fewer)
    with pytest.raises(InputError, match="seed 1 was tested on other rows"):
        lit_export(collect(results))


def test_languages_are_data_sets_and_draws_are_named(tmp_path: Path) -> None:
    plan = make_plan(patterns=("ja16", "de16"), seeds=(0,), draws=(1,))
    results = make_results(tmp_path, plan)
    save_texts(results, {**TEXTS, "d": "Kohlenstoff"})
    for pattern, scores in (("ja16", SCORES), ("de16", {"d": 0.125})):
        table = predictions(scores)
        save_done(results, "elyza", pattern, 0, METRICS, predictions=table, draw_index=1)
    manifest = lit_export(collect(results)).manifest
    assert manifest["classes"] == ["negative", "positive"]
    assert [(m["name"], m["dataset"]) for m in manifest["models"]] == [
        ("elyza ja16 draw 1 seed 0", "test rows (ja)"),
        ("elyza de16 draw 1 seed 0", "test rows (de)"),
    ]


def test_an_export_replaces_only_an_earlier_export(tmp_path: Path) -> None:
    collected = collect(made(tmp_path / "r"))
    out = tmp_path / "out"
    both = lit_export(collected)
    write_export(both, out)
    assert is_export(out) and read_manifest(out) == dict(both.manifest)
    assert {file.name for file in out.iterdir()} == {MANIFEST, *both.files}
    one = lit_export(collected, seeds=[0])
    write_export(one, out)  # nothing of the earlier one stays
    assert {file.name for file in out.iterdir()} == {MANIFEST, *one.files}
    with pytest.raises(InputError, match=r"holds no lit\.json; give an empty folder"):
        write_export(one, tmp_path / "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give another --out"):
        write_export(one, tmp_path / "file")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 1, "datasets": 3}'])
def test_damaged_manifests_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(InputError, match="damaged"):
        read_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": 0, "datasets": [], "models": []}')
    with pytest.raises(InputError, match="another version"):
        read_manifest(tmp_path)


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_each_line_is_a_row_for_any_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    manifest = {"format": 1, "datasets": [{"file": "rows.jsonl"}], "models": []}
    folder = tmp_path_factory.mktemp("lines")
    write_export(LitExport(manifest, {"rows.jsonl": rows}), folder)
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:  # as the viewer reads them
        assert [json.loads(line) for line in lines] == rows


def test_more_than_two_classes(tmp_path: Path) -> None:
    """LIT gets all probabilities, and the class that the contributions are for."""
    classes = ("waste", "sport", "markets")
    results = make_results(tmp_path, make_plan(["elyza"], ["ja16"], [0], classes=classes))
    scores = {"a": [0.25, 0.75, 0.0], "b": [0.5, 0.25, 0.25], "c": [0.0, 0.0, 1.0]}
    rows = [
        {"id": i, "split": "test", "y_true": LABELS[i], "y_score": score}
        for i, score in scores.items()
    ]
    trial = save_done(
        results, "elyza", "ja16", 0, {"macro_f1": 0.5}, predictions=pa.Table.from_pylist(rows)
    )
    save_texts(results, TEXTS)
    save_explained(results, trial, ["a", "b"])
    table = read_attributions(results, trial, "lime").table
    for field in LATER_COLUMNS:
        if field.name in ("explained", "predicted"):
            table = table.append_column(field, pa.array([1, 2], field.type))
    save_attributions(results, trial, Attributions({"method": "lime"}, table))
    export = lit_export(collect(results))
    assert export.manifest["classes"] == list(classes)
    (file,) = (model["file"] for model in export.manifest["models"])
    shown = export.files[file]
    assert [row["probabilities"] for row in shown] == list(scores.values())
    assert [row.get("explained") for row in shown] == [1, 2, None]
    (headlines,) = (data["file"] for data in export.manifest["datasets"])
    assert [row["label"] for row in export.files[headlines]] == ["sport", "waste", "sport"]


def test_pairs_have_two_fields(tmp_path: Path) -> None:
    """Tokens say which text they belong to; texts of attributions are split again."""
    results = make_results(tmp_path, make_plan(["elyza"], ["ja16"], [0]))
    trial = save_done(results, "elyza", "ja16", 0, METRICS, predictions=predictions())
    save_explained(results, trial)
    table = read_attributions(results, trial, "lime").table
    values = table.drop(["text", "starts"]).to_pydict()
    values["text"] = ["炭素\nの\n目標"] * 3  # the first text has two lines
    values["starts"] = [[0, 3, 5]] * 3
    schema = pa.schema([*COLUMNS, LATER_COLUMNS.field("segments")])
    values["segments"] = [[0, 0, 1]] * 3
    paired = pa.Table.from_pydict(values, schema=schema)
    save_attributions(results, trial, Attributions({"method": "lime"}, paired))
    export = lit_export(collect(results))
    assert export.files["headlines-ja.jsonl"][0] == {
        "id": "a", "text": "炭素\nの", "text_pair": "目標", "language": "ja", "label": "positive",
    }  # fmt: skip
    (file,) = (model["file"] for model in export.manifest["models"])
    assert export.files[file][0]["segments"] == [0, 0, 1]
    save_texts(results, TEXTS, pair="株価")
    export = lit_export(collect(results))
    assert export.files["headlines-ja.jsonl"][0]["text_pair"] == "株価"
    assert export.files["headlines-ja.jsonl"][0]["text"] == TEXTS["a"]
