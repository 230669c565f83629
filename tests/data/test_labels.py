"""Labels of tables: several classes, other values, leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from table_rows import (
    HEAD,
    errors,
    load_bytes,
)

from xlt.data.sources.registry import parse_source, read_source

TOPICS = b"""id,text,lang,label,published
1,Wind,en,esg,2022-08-31T23:30:00-08:00
2,Goal,en,sport,2022-08-31T23:30:00+09:00
3,Bonds,ja,money,
4,Match,ja,sport,2022-09-01
"""


@pytest.mark.parametrize(
    ("classes", "names", "labels"),
    [
        ("all", ("esg", "money", "sport"), [0, 2, 1, 2]),
        (["sport", "money", "esg"], ("sport", "money", "esg"), [2, 0, 1, 0]),
    ],
)
def test_several_classes(
    classes: Any, names: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    dataset = load_bytes(tmp_path, "a.csv", TOPICS, positive=None, classes=classes)
    assert (dataset.classes, dataset.table["label"].to_pylist()) == (names, labels)
    assert [str(day) for day in dataset.table["published"].to_pylist()] == [
        "2022-08-31", "2022-08-31", "None", "2022-09-01",
    ]  # fmt: skip
    lines = TOPICS.splitlines(keepends=True)
    other = b"".join([lines[0], *lines[:0:-1]])
    assert load_bytes(tmp_path, "b.csv", other, positive=None, classes=classes).fingerprint == (
        dataset.fingerprint
    )


def test_made_ids_of_several_classes_do_not_depend_on_other_labels(tmp_path: Path) -> None:
    columns = {"id": None}
    three = load_bytes(tmp_path, "a.csv", TOPICS, positive=None, classes="all", columns=columns)
    two = load_bytes(
        tmp_path, "a.csv", TOPICS, positive=None, classes=["sport", "esg"], columns=columns,
        drop_other_labels=True,
    )  # fmt: skip
    assert two.table["label"].to_pylist() == [1, 0, 0]
    assert set(two.table["id"].to_pylist()) < set(three.table["id"].to_pylist())


def test_labels_that_are_no_class_are_reported_or_dropped(tmp_path: Path) -> None:
    options: dict[str, Any] = {"positive": None, "classes": ["esg", "sport"]}
    assert errors(tmp_path, "a.csv", TOPICS, **options) == [
        "1 rows with an unknown label: row 4 ('money'); known: 'esg', 'sport'; "
        "add to classes, or set drop_other_labels: true"
    ]
    values = {"source": "table", "path": str(tmp_path / "a.csv"), "drop_other_labels": True}
    reading = read_source(parse_source({**values, "classes": ["esg", "sport"]}))
    assert reading.dropped == {"label that is no class": 1}
    assert errors(tmp_path, "a.csv", TOPICS, positive=None, classes=["esg", "money", "sports"]) == [
        "2 rows with an unknown label: row 3 ('sport'), row 5 ('sport'); "
        "known: 'esg', 'money', 'sports'; add to classes, or set drop_other_labels: true",
        "no row has the class label: unknown label 'sports'. Did you mean 'sport'? "
        "Known: esg, money, sport.",
    ]
    lines = "".join(f"{n},t{n},en,l{n}\n" for n in range(200))
    assert errors(tmp_path, "b.csv", HEAD + lines, positive=None, classes="all") == [
        "classes: all gives 200 classes; 2 to 128 are possible; name the right label column, or "
        "list the classes"
    ]


def test_leaks_are_looked_for_in_two_classes_only(tmp_path: Path) -> None:
    lines = "".join(f"{n},[{'abc'[n % 3]}] text {n},en,{'abc'[n % 3]}\n" for n in range(300))
    dataset = load_bytes(tmp_path, "a.csv", (HEAD + lines).encode(), positive=None, classes="all")
    assert dataset.classes == ("a", "b", "c")
    (problem,) = errors(
        tmp_path, "a.csv", HEAD + lines, positive=None, classes=["a", "b"], drop_other_labels=True
    )
    assert problem.startswith("the en texts contain their label")


def test_rows_that_are_dropped_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,lang,label\n1,a,en,x\n2,b,en,y\n3,c,en,z\n")
    options = {"positive": ["x"], "negative": ["y"], "drop_other_labels": True}
    reading = read_source(
        parse_source({"source": "table", "path": str(tmp_path / "a.csv"), **options})
    )
    assert (reading.num_read, len(reading.dataset.table)) == (3, 2)
    assert reading.dropped == {"label in neither list": 1}
