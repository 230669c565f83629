"""Aggregate record of a cell in the schema of Every Eval Ever.

Source: every_eval_ever 0.3.0, schemas/eval.schema.json (arXiv 2606.14516).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlt.analysis.tables.cells import TableCell
from xlt.analysis.tables.metric_cells import MetricCells
from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.analysis.trials.trial_row import TrialRow
from xlt.analysis.uncertainty.intervals import CONFIDENCE
from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import METRICS, define_metric
from xlt.trainables.results.plan import PlannedCell

SCHEMA_VERSION = "0.3.0"
"""Version of the schema, which is that of the package every-eval-ever."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Parts that are the same in all records of an experiment.

    Attributes:
        experiment: Name of the experiment.
        organization: Who ran it; empty: not named.
        created: Time of the records, seconds since 1970.
        hub_data: Hub id of the data set and its revision; None: the data are not from the hub.
    """

    experiment: str
    organization: str
    created: int
    hub_data: tuple[str, str | None] | None = None

    @property
    def collection(self) -> str:
        """Name of the folder of the experiment's records."""
        return make_component(f"xlt-{self.experiment}")

    def model_id(self, cell: PlannedCell) -> str:
        """Id of a cell's classifier: who trained it, its base model and its pattern."""
        owner = make_component(self.organization) if self.organization else "local"
        return f"{owner}/{make_component(f'{cell.base_model}-{cell.pattern}')}"

    def evaluation_id(self, cell: PlannedCell) -> str:
        """Id of the record of a cell."""
        return f"{self.experiment}/{self.model_id(cell)}/{self.created}"

    def evaluation_name(self, lang: str) -> str:
        """Name of the evaluation in a test language."""
        return f"{self.experiment} ({lang})"


def make_component(text: str) -> str:
    """Turn a name into one component of a path that every system accepts."""
    return re.sub(r"[^\w.+-]+", "-", text).strip(".-") or "unnamed"


def make_result_id(lang: str, metric: str, run: str) -> str:
    """Id of a result within a record; ``run`` is ``mean`` or the name of a run."""
    return f"{lang}/{metric}/{run.replace(' ', '-')}"


def make_aggregate(
    collected: Collected,
    cell: PlannedCell,
    by_lang: Mapping[str, Mapping[str, MetricCells]],
    origin: Origin,
) -> Row:
    """Make the record of a cell, without the reference to its instances.

    Args:
        collected: The experiment in the target languages of its cells.
        cell: The cell.
        by_lang: Test language -> metric -> cells in this language.
        origin: Parts that are the same in all records.
    """
    rows = collected.by_cell[cell.key]
    done = next(row for row in rows if row.is_done)
    record = collected.records[done.trial_id]
    spec, signature = record["spec"], record["signature"]
    settings = {
        "learning_rate": spec["learning_rate"],
        **spec["training"],
        **(spec.get("lora") or {}),
        **(spec.get("peft") or {}),
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": origin.evaluation_id(cell),
        "retrieved_timestamp": str(origin.created),
        "source_metadata": {
            "source_name": f"xlt-sweep experiment {origin.experiment}",
            "source_type": "evaluation_run",
            "source_organization_name": origin.organization or "not named",
            "evaluator_relationship": "first_party",
        },
        "eval_library": {
            "name": "xlt-sweep",
            "version": str(signature.get("versions", {}).get("xlt-sweep", "unknown")),
        },
        "model_info": {
            "name": f"{first_line(cell.base_model)} trained on {first_line(cell.pattern)}",
            "id": origin.model_id(cell),
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "base_model": first_line(cell.base_model),
                "base_identity": spec["base_identity"],
                "method": spec["method"],
            },
        },
        "evaluation_results": [
            result | {"generation_config": {"additional_details": as_strings(settings)}}
            for lang, metric_cells in by_lang.items()
            for metric, cells in metric_cells.items()
            for result in _make_results(cell, lang, metric, cells, origin)
        ],
    }


def as_strings(values: Mapping[str, Any]) -> dict[str, str]:
    """Write values as texts, which the schema asks for; without those that are None."""
    return {name: str(value) for name, value in values.items() if value is not None}


def _make_results(
    cell: PlannedCell, lang: str, metric: str, cells: MetricCells, origin: Origin
) -> Iterator[Row]:
    """The mean of a metric over the runs of a cell, and its value in each of them."""
    tested = cell.tested_in(lang) or cell
    mean_cell = next(entry for entry in cells.cells if entry.key == tested.key)
    rows = cells.collected.by_cell[tested.key]
    plan = cells.collected.plan
    base = {
        "evaluation_name": origin.evaluation_name(lang),
        "source_data": _describe_data(plan.data_fingerprint, lang, rows, origin),
        "metric_config": {
            "metric_id": metric,
            "metric_name": METRICS[metric].label,
            "metric_kind": metric,
            "metric_unit": "proportion",
            "evaluation_description": define_metric(metric, plan.positive, list(plan.classes)),
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
    }
    if mean_cell.mean is not None:
        score = _describe_mean(mean_cell, cells.interval_note)
        yield {"evaluation_result_id": make_result_id(lang, metric, "mean"), **base} | {
            "score_details": score
        }
    with_draw = has_draws([row.draw_index for row in rows])
    for row in rows:
        if metric in row.metrics:
            name = run_name(row.run, with_draw)
            details = {"run": name, "trial_id": row.trial_id}
            yield {"evaluation_result_id": make_result_id(lang, metric, name), **base} | {
                "score_details": {"score": row.metrics[metric], "details": details}
            }


def _describe_mean(cell: TableCell, interval_note: str) -> Row:
    details = {
        "aggregation": "mean over runs (seeds, or seeds and draws of training rows)",
        "std_over_runs": cell.std,
        "num_runs": cell.n,
        "num_planned_runs": cell.num_planned,
    }
    score: Row = {"score": cell.mean, "details": as_strings(details)}
    if cell.interval:
        low, high = cell.interval
        interval = {"lower": low, "upper": high, "confidence_level": CONFIDENCE}
        score["uncertainty"] = {"confidence_interval": {**interval, "method": interval_note}}
    return score


def _describe_data(fingerprint: str, lang: str, rows: Sequence[TrialRow], origin: Origin) -> Row:
    num_rows = next((row.num_test_rows for row in rows if row.num_test_rows), None)
    details = {"language": lang, "data_fingerprint": fingerprint, "num_test_rows": num_rows}
    if origin.hub_data is None:
        name = f"{origin.experiment}: test rows in {lang}"
        return {
            "dataset_name": name,
            "source_type": "other",
            "additional_details": as_strings(details),
        }
    dataset, revision = origin.hub_data
    return {
        "dataset_name": dataset,
        "source_type": "hf_dataset",
        "hf_repo": dataset,
        "additional_details": as_strings(details | {"revision": revision, "rows": "drawn"}),
    }
