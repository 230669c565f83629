"""Published numbers: the paper's Tables 1, 3, 4 and 5 as data, to be printed beside ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class Published:
    """A published table entry.

    Attributes:
        mean: Mean over 3 runs, a fraction of 1.
        std: Printed standard deviation; the paper does not state its ddof.
    """

    mean: float
    std: float


@dataclass(frozen=True)
class PublishedModel:
    """A row of the paper's Table 1.

    Attributes:
        name: Name in the paper.
        multilingual: Whether pre-training covered both languages.
    """

    name: str
    multilingual: bool


MODELS: dict[str, PublishedModel] = {
    "elyza": PublishedModel("ELYZA", True),
    "llama2": PublishedModel("Llama2", True),
    "mbert": PublishedModel("mBERT", True),
    "opencalm": PublishedModel("OpenCALM", False),
    "bert-ja": PublishedModel("BERT", False),
}
"""Name in ``xlt.trainables.models.base_models.BASE_MODELS`` -> row of Table 1."""

PATTERNS = ("ja0", "ja16", "ja104")
"""Columns of Tables 3 and 4."""

MINIATURE_PREFIX = "mini-"
"""``mini-elyza`` is the small stand-in of ``elyza``."""

TABLES: dict[str, str] = {"f1": "Table 3", "auroc": "Table 4"}
"""Metric -> number of its table in the paper."""

NUM_RUNS = 3
"""Number of runs behind each published mean (section 3.3)."""

NUM_TEST_ROWS = 512
"""Number of Japanese test rows behind each published score (section 3, table 2)."""

SETTING = (
    f"{NUM_RUNS} runs; trained on 1024 English and 0, 16 or 104 Japanese Reuters headlines "
    f"(monolingual models on the Japanese ones alone), tested on {NUM_TEST_ROWS} Japanese ones; "
    "ddof of its std not stated"
)
"""Setting in which the published numbers were measured (section 3, tables 1 and 2)."""


def _rows(*rows: tuple[Published | None, ...]) -> dict[CellKey, Published | None]:
    """Name the entries of rows in the order of MODELS and columns in the order of PATTERNS."""
    return {
        CellKey(model, pattern): value
        for model, row in zip(MODELS, rows, strict=True)
        for pattern, value in zip(PATTERNS, row, strict=True)
    }


_P = Published
_VALUES: dict[str, dict[CellKey, Published | None]] = {
    "f1": _rows(
        (_P(0.691, 0.088), _P(0.777, 0.082), _P(0.857, 0.007)),
        (_P(0.631, 0.053), _P(0.773, 0.036), _P(0.839, 0.006)),
        (_P(0.694, 0.014), _P(0.675, 0.004), _P(0.740, 0.029)),
        (None, _P(0.674, 0.028), _P(0.781, 0.015)),
        (None, _P(0.595, 0.028), _P(0.679, 0.017)),
    ),
    "auroc": _rows(
        (_P(0.915, 0.007), _P(0.920, 0.004), _P(0.929, 0.006)),
        (_P(0.923, 0.002), _P(0.911, 0.012), _P(0.919, 0.001)),
        (_P(0.836, 0.005), _P(0.835, 0.010), _P(0.814, 0.033)),
        (None, _P(0.726, 0.048), _P(0.861, 0.011)),
        (None, _P(0.635, 0.018), _P(0.726, 0.010)),
    ),
}


TABLE_5_MODEL = "elyza"
TABLE_5: dict[str, tuple[str, ...]] = {
    "ja0": ("エネルギー", "環境", "EV", "炭", "燃", "電", "力", "気", "候", "排"),
    "ja16": ("エネルギー", "炭", "燃", "環境", "EV", "気", "電", "候", "排", "力"),
    "ja104": ("エネルギー", "環境", "炭", "燃", "EV", "気", "電", "削", "油", "債"),
}
"""Pattern -> the ten tokens with the highest mean LIME contribution, in order (Table 5)."""


def find_counterpart(base_model: str) -> str | None:
    """Find the paper's model that a base model corresponds to: a key of :data:`MODELS`, or None.

    The counterpart of a miniature is the model that it stands in for. This is for display side by
    side only: the published numbers are not those of the miniature.
    """
    name = base_model.removeprefix(MINIATURE_PREFIX)
    return name if name in MODELS else None


def find_published(metric: str, cell: CellKey) -> Published | None:
    """Find the published entry of a cell; None if the paper has none.

    Args:
        metric: Name in ``METRICS``.
        cell: Cell of a base model or of a miniature.
    """
    model = find_counterpart(cell.base_model)
    return None if model is None else _VALUES.get(metric, {}).get(CellKey(model, cell.pattern))


def label_published(base_model: str) -> str | None:
    """Label of the row of published numbers below a base model's row; None: no such row."""
    model = find_counterpart(base_model)
    return None if model is None else f"published (paper's {MODELS[model].name})"


def list_stand_ins(base_models: Iterable[str]) -> list[str]:
    """List the base models that are miniatures of one of the paper's models."""
    return [m for m in base_models if m.startswith(MINIATURE_PREFIX) and find_counterpart(m)]


def write_remarks(metric: str, base_models: list[str]) -> list[str]:
    """Write the sentences that must stand below a table with published numbers.

    Args:
        metric: The table's metric.
        base_models: Base models in the rows of the table.
    """
    if metric not in TABLES:
        return [f"The paper has no table of {metric}."]
    sentences = [f"Published: {TABLES[metric]} of the paper; {SETTING}."]
    if small := list_stand_ins(base_models):
        sentences.append(
            f"{', '.join(small)}: miniature(s), not the paper's models; the published numbers "
            "below them are those of the models they stand in for, and their level is not "
            "comparable."
        )
    return sentences
