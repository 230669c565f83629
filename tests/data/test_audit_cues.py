"""The check cues: leaking columns are reported, and the AUROC is that of scikit-learn."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from audit_rows import built_in, make
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from xlt.data.audit.cues import MIN_ROWS, NUM_BINS, WARNING_AUROC, auroc, check, features
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding

DAY = datetime.date(2022, 1, 1)


def rows(num: int = 400, num_classes: int = 2) -> list[dict[str, Any]]:
    """Rows whose cues say nothing."""
    rng = random.Random(0)
    return [
        {
            "id": f"row{number:05d}",
            "text": "word " * rng.randrange(1, 20) + str(n),
            "label": n % num_classes,
            "published": DAY + datetime.timedelta(rng.randrange(300)),
            "source": rng.choice("abc"),
        }
        for n, number in enumerate(rng.sample(range(99_999), num))
    ]


CUES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "source": ("source", lambda row: f"desk{row['label']}"),
    "id prefix": ("id", lambda row: f"{'pn'[row['label']]}{row['id']}"),
    "id length": ("id", lambda row: row["id"] + "00" * row["label"]),
    "id number": ("id", lambda row: f"r{int(row['id'][3:]) + 10**6 * row['label']}"),
    "text length": ("text", lambda row: row["text"] * (1 + 20 * row["label"])),
    "date": ("published", lambda row: row["published"] + datetime.timedelta(400 * row["label"])),
}


def found(values: list[dict[str, Any]], num_classes: int = 2) -> list[Finding]:
    classes = tuple(f"class{n}" for n in range(num_classes))
    return check(make(*values, classes=classes), UsedRows())


@pytest.mark.parametrize("cue", CUES)
def test_cues_that_are_the_label_are_errors(cue: str) -> None:
    name, change = CUES[cue]
    (finding,) = found([{**row, name: change(row)} for row in rows()])
    kind = cue if cue == "text length" else cue.split()[0]
    assert (finding.severity, finding.count) == ("error", 400)
    assert f"{kind} alone with" in finding.message and f"why {kind} and label" in finding.remedy


def test_noisy_cues_are_warnings_and_weak_ones_pass() -> None:
    rng = random.Random(0)
    for share_wrong, severities in ((0.1, ["warning"]), (0.4, [])):
        noisy = [
            {**row, "source": f"desk{row['label'] ^ (rng.random() < share_wrong)}"}
            for row in rows(1000)
        ]
        assert [finding.severity for finding in found(noisy)] == severities


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_cues_that_say_nothing_pass(num_classes: int) -> None:
    for num in (MIN_ROWS * num_classes, 400):
        assert found(rows(num, num_classes), num_classes) == []


def test_with_many_classes_every_one_counts() -> None:
    planted = [{**row, "source": f"desk{row['label']}"} for row in rows(600, 4)]
    assert [f.severity for f in found(planted, 4)] == ["error"]
    # The cue marks one of four classes: AUROC 1.0 for it, and less for the others.
    planted = [{**row, "source": f"desk{row['label'] == 0}"} for row in rows(600, 4)]
    score = auroc([[f"source={row['source']}"] for row in planted],
                  np.array([row["label"] for row in planted]))  # fmt: skip
    assert score == pytest.approx((1 + 3 * 2 / 3) / 4, abs=0.05)


def test_few_rows_and_absent_classes_are_not_judged() -> None:
    planted = [{**row, "source": f"desk{row['label']}"} for row in rows(2 * MIN_ROWS - 2)]
    assert found(planted) == []
    assert found([{**row, "label": 1} for row in rows()]) == []
    assert found([{**row, "published": None} for row in rows()]) == []


def test_built_in_headlines_are_not_predicted_by_id_source_and_date() -> None:
    dataset, _ = built_in()
    columns = dataset.table.to_pydict()
    y_true = np.array(columns["label"])
    for name, values in features(columns).items():
        score = auroc(values, y_true)
        if name == "text length":  # few concepts, each of its length
            assert 0.5 < score < WARNING_AUROC
        else:
            assert score == pytest.approx(0.5, abs=0.02)


def test_auroc_is_that_of_scikit_learn_on_features_made_by_hand() -> None:
    rng = np.random.default_rng(0)
    for num_classes in (2, 3):
        y_true = rng.integers(num_classes, size=300)
        cue = np.where(rng.random(300) < 0.5, y_true, rng.integers(num_classes, size=300))
        one_hot = np.eye(num_classes)[cue]
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        y_score = cross_val_predict(
            LogisticRegression(), one_hot, y_true, cv=folds, method="predict_proba"
        )
        expected = (
            roc_auc_score(y_true, y_score[:, 1])
            if num_classes == 2
            else roc_auc_score(y_true, y_score, multi_class="ovr")
        )
        assert auroc([[f"cue={c}"] for c in cue], y_true) == pytest.approx(expected, abs=0.005)


def test_bins_are_equally_filled_and_equal_values_share_one() -> None:
    columns = {
        "id": [f"a{n}" for n in range(1000)] + ["1" * 40],
        "text": ["x" * (n % 2 + 1) for n in range(1001)],
        "published": [None] * 1001,
        "source": ["s"] * 1001,
    }
    by_cue = features(columns)
    numbers = [row[3] for row in by_cue["id"]]
    assert len(set(numbers)) == NUM_BINS
    assert max(map(numbers.count, set(numbers))) <= 51
    assert len({row[0] for row in by_cue["text length"]}) == 2
    assert by_cue["date"][0] == ["days=0", "weekday=None"]
