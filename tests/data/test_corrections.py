"""Corrections by hand: changes are counted, and wrong rows are reported."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import BINARY, Dataset
from xlt.data.sources.correction_report import CorrectionReport
from xlt.data.sources.corrections import Corrections, correct_labels
from xlt.data.sources.registry import SOURCES, parse_source, read_source

TOPICS = ("esg", "money", "sport")
HEAD = "id,label,annotator,note\n"


def delivered(labels: list[int], classes: tuple[str, ...] = TOPICS) -> Dataset:
    """Rows r0, r1, ..., English and Japanese in turn."""
    table = pa.table(
        {
            "id": [f"r{n}" for n in range(len(labels))],
            "text": [f"text {n}" for n in range(len(labels))],
            "lang": [("en", "ja")[n % 2] for n in range(len(labels))],
            "label": pa.array(labels, pa.int8()),
            "source": ["wire"] * len(labels),
        }
    )
    return Dataset.from_table(table, classes=classes)


def correct(
    folder: Path, content: str, dataset: Dataset | None = None, **options: Any
) -> tuple[list[int], CorrectionReport]:
    path = folder / "fixes.csv"
    path.write_text(content, "utf-8")
    dataset = dataset or delivered([0, 1, 2, 0, 1, 2])
    done, report = correct_labels(dataset, Corrections.parse({"path": str(path), **options}))
    assert done.table.drop_columns("label").equals(dataset.table.drop_columns("label"))
    assert (done.fingerprint == dataset.fingerprint) == (report.num_corrected == 0)
    return done.table["label"].to_pylist(), report


def errors(folder: Path, content: str, **options: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        correct(folder, content, **options)
    assert caught.value.where == str(folder / "fixes.csv")
    return caught.value.problems


def test_labels_change_and_are_counted(tmp_path: Path) -> None:
    content = HEAD + "r0,money,ann,wages\nr1,money,ann,\nr5,esg,bob,\nr2,0,bob,\nr3,esg,,\n"
    labels, report = correct(tmp_path, content)
    assert labels == [1, 1, 0, 0, 1, 0]
    assert report.num_rows == 5
    assert (report.num_corrected, report.num_confirmed) == (3, 2)
    assert report.changes == (
        ("en", "esg", "money", 1), ("en", "sport", "esg", 1), ("ja", "sport", "esg", 1),
    )  # fmt: skip
    assert report.agreement == (("ann", "bob", 0, None),)
    path = tmp_path / "fixes.csv"
    assert report.describe() == (
        f"{path}: 3 labels corrected, 2 kept\n"
        "  en: 1 from esg to money\n  en: 1 from sport to esg\n  ja: 1 from sport to esg\n"
        "  ann and bob: kappa undefined on 0 rows"
    )
    values = json.loads(json.dumps(report.as_dict()))
    assert values["num_corrected"] == 3
    assert values["changes"][0] == {"lang": "en", "before": "esg", "after": "money", "num": 1}
    assert values["agreement"] == [
        {"first": "ann", "second": "bob", "num_common": 0, "kappa": None}
    ]


def test_columns_have_any_names_and_files_any_format(tmp_path: Path) -> None:
    dataset = delivered([0, 1], BINARY)
    table = pa.table({"key": ["r0", "r1"], "verdict": [1, 0]})
    pq.write_table(table, tmp_path / "a.parquet")
    settings = Corrections.parse(
        {"path": str(tmp_path / "a.parquet"), "columns": {"id": "key", "label": "verdict"}}
    )
    done, report = correct_labels(dataset, settings)
    assert done.table["label"].to_pylist() == [1, 0]
    assert report.agreement == ()


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, "r0,positive\nr1,negative\n"),
        ({}, "r0,1\nr1,0\n"),
        ({"positive": ["esg", True]}, "r0,esg\nr1,sport\n"),
        ({"positive": ["esg"], "negative": ["sport"]}, "r0,esg\nr1,sport\n"),
    ],
)
def test_spellings_of_two_classes(options: dict[str, Any], lines: str, tmp_path: Path) -> None:
    labels, _ = correct(tmp_path, "id,label\n" + lines, delivered([0, 1], BINARY), **options)
    assert labels == [1, 0]


def test_classes_that_are_numbers_are_names_only(tmp_path: Path) -> None:
    dataset = delivered([0, 1], ("1", "2"))
    assert correct(tmp_path, "id,label\nr0,2\nr1,1\n", dataset)[0] == [1, 0]
    assert errors(tmp_path, "id,label\nr0,0\n", dataset=dataset) == [
        "1 rows with an unknown label; known: 1, 2: row 2 ('0')"
    ]


CONTRADICTION = HEAD + "r0,money,ann,\nr0,sport,bob,\nr0,sport,cid,\nr0,esg,dan,\nr1,money,ann,\n"


@pytest.mark.parametrize(("on_conflict", "label"), [("majority", 2), ("last", 0)])
def test_contradictions_can_be_decided(on_conflict: str, label: int, tmp_path: Path) -> None:
    labels, report = correct(tmp_path, CONTRADICTION, on_conflict=on_conflict)
    assert labels == [label, 1, 2, 0, 1, 2]
    assert report.num_conflicts == 1


def test_contradictions_are_refused(tmp_path: Path) -> None:
    assert errors(tmp_path, HEAD + "r0,money,ann,\nr1,esg,ann,\nr0,sport,bob,\n") == [
        "the labels of 1 ids contradict each other: 'r0' (money row 2, sport row 4); correct them, "
        "or set on_conflict: majority or last"
    ]
    assert errors(tmp_path, HEAD + "r0,money,,\nr0,sport,,\n", on_conflict="majority") == [
        "the labels of 1 ids have no majority: 'r0' (money row 2, sport row 3); correct them, "
        "or set on_conflict: last"
    ]


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    content = HEAD + ",esg,,\nr0,,,\nx7,esg,,\nr1,ESG,,\nr2,esg,ann,\nr2,esg,ann,\nr3,esg,bob,\n"
    assert errors(tmp_path, content) == [
        "1 rows without id; fill or remove them: row 2",
        "1 rows without label; fill or remove them: row 3",
        "1 rows with an id that the data set does not have; correct or remove them, or set "
        "on_unknown_id: skip: 'x7' (row 4)",
        "1 rows with an unknown label; known: esg, money, sport, 0, 1, 2: row 5 ('ESG')",
        "1 ids are labelled twice by one annotator: ann on 'r2' (row 6, row 7); keep one row",
    ]


def test_unknown_ids_can_be_skipped_but_not_all(tmp_path: Path) -> None:
    labels, report = correct(tmp_path, "id,label\nx,esg\nr1,esg\n", on_unknown_id="skip")
    assert labels[1] == 0
    assert (report.num_rows, report.num_unknown) == (2, 1)
    assert "  1 rows of the file skipped: no row has their id" in report.describe()
    nothing = ["corrects nothing: no row has an id of the data set; check the ids"]
    assert errors(tmp_path, "id,label\nx,esg\n", on_unknown_id="skip") == nothing
    assert errors(tmp_path, "id,label\n") == nothing


def test_missing_columns_and_wrong_settings_are_reported(tmp_path: Path) -> None:
    assert errors(tmp_path, "key,label\nr0,esg\n") == [
        "unknown column 'id'. Known: key, label. Name it in columns.id."
    ]
    assert errors(tmp_path, "id,label\nr0,esg\n", columns={"annotator": "labels"}) == [
        "unknown column 'labels'. Did you mean 'label'? Known: id, label. "
        "Name it in columns.annotator."
    ]
    assert errors(tmp_path, "id,label\nr0,esg\n", positive=["esg"]) == [
        "positive needs the classes negative and positive, but the data set has esg, money, sport; "
        "remove it and write class names as labels"
    ]
    for options, problem in (
        ({"columns": {"id": "label"}}, "columns.id and columns.label are both 'label'"),
        ({"negative": ["x"]}, "negative needs positive"),
        ({"positive": ["x"], "negative": ["x"]}, "['x'] are both positive and negative"),
        ({"on_conflict": "first"}, "on_conflict: should be 'refuse', 'majority' or 'last'"),
    ):
        with pytest.raises(InputError) as caught:
            Corrections.parse({"path": "a.csv", **options})
        assert str(caught.value).startswith(problem)
    with pytest.raises(InputError, match="there is no such file"):
        correct_labels(delivered([0, 1]), Corrections(path=str(tmp_path / "none.csv")))


LABELS = st.sampled_from(TOPICS)
VOTES = st.dictionaries(
    st.tuples(st.integers(0, 11), st.sampled_from(["ann", "bob", "cid"])), LABELS, min_size=1
)


@given(st.lists(st.sampled_from(range(3)), min_size=12, max_size=12), VOTES)
def test_counts_add_up_and_kappa_is_that_of_scikit_learn(
    tmp_path_factory: pytest.TempPathFactory,
    labels: list[int],
    votes: dict[tuple[int, str], str],
) -> None:
    path = tmp_path_factory.mktemp("votes") / "fixes.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "annotator"])
        writer.writerows([f"r{row}", label, who] for (row, who), label in votes.items())
    dataset = delivered(labels)
    done, report = correct_labels(dataset, Corrections(path=str(path), on_conflict="last"))
    last = {row: TOPICS.index(label) for (row, _), label in votes.items()}
    assert done.table["label"].to_pylist() == [last.get(row, y) for row, y in enumerate(labels)]
    assert report.num_corrected == sum(labels[row] != label for row, label in last.items())
    assert report.num_corrected + report.num_confirmed == len(last)
    assert report.num_rows == len(votes)
    assert report.num_conflicts == sum(
        len({label for (row, _), label in votes.items() if row == wanted}) > 1 for wanted in last
    )
    for first, second, num_common, kappa in report.agreement:
        common = [row for row in range(12) if (row, first) in votes and (row, second) in votes]
        assert num_common == len(common)
        vectors = [[votes[row, who] for row in common] for who in (first, second)]
        if len(common) < 2 or len({*vectors[0], *vectors[1]}) == 1:
            assert kappa is None
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # it warns of what is undefined
                assert kappa == cohen_kappa_score(*vectors)


def test_kappa_of_a_table_that_is_known(tmp_path: Path) -> None:
    """50 grant proposals, 20 yes of both, 15 no, 5 and 10 apart: the common textbook example."""
    pairs = [("1", "1")] * 20 + [("1", "0")] * 5 + [("0", "1")] * 10 + [("0", "0")] * 15
    lines = [f"r{n},{first},ann,\nr{n},{second},bob,\n" for n, (first, second) in enumerate(pairs)]
    dataset = delivered([n % 2 for n in range(50)], BINARY)
    _, report = correct(tmp_path, HEAD + "".join(lines), dataset, on_conflict="last")
    (pair,) = report.agreement
    assert pair.kappa == pytest.approx(0.4)
    assert "  ann and bob: kappa 0.400 on 50 rows" in report.describe()


def test_any_source_can_be_corrected(tmp_path: Path) -> None:
    for name in SOURCES:
        with pytest.raises(InputError, match=r"corrections\.path: is required"):
            parse_source({"source": name, "corrections": {}})
    options = {"source": "synthetic", "num_source": 10, "num_target": 10}
    plain = read_source(parse_source(options))
    assert plain.corrections is None
    row = plain.dataset.table.slice(3, 1).to_pylist()[0]
    (tmp_path / "fixes.csv").write_text(f"id,label\n{row['id']},{1 - row['label']}\n")
    fixes = {"path": str(tmp_path / "fixes.csv")}
    reading = read_source(parse_source({**options, "corrections": fixes}))
    assert reading.dataset.table["label"][3].as_py() == 1 - row["label"]
    assert reading.dataset.fingerprint != plain.dataset.fingerprint
    assert reading.corrections is not None
    assert reading.corrections.num_corrected == 1
    assert reading.num_read == 20
