"""Sentences that captions of several tables share."""

from __future__ import annotations

from xlt.data.core.text import first_line
from xlt.trainables.metrics.registry import define_metric
from xlt.trainables.results.plan import Plan


def define(plan: Plan, metric: str) -> str:
    """Define a metric in words, with the classes of an experiment."""
    return define_metric(metric, first_line(plan.positive), list(map(first_line, plan.classes)))


def define_in_sentence(plan: Plan, metric: str) -> str:
    """Define a metric in a sentence, with the classes of an experiment."""
    defined = define(plan, metric)
    return f"{defined[0].upper()}{defined[1:]}."


def name_experiment(plan: Plan) -> str:
    """Name an experiment in a sentence, with its title."""
    title = f": {first_line(plan.title)}" if plan.title else ""
    return f"Experiment {plan.experiment}{title}."
