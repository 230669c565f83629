"""describe_cost: the hours of GPUs and CPUs of done trials, the money for them, and the energy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from xlt.analysis.trials.collect import Collected
from xlt.data.core.errors import InputError, unknown
from xlt.data.core.text import plain_line
from xlt.trainables.results.trial_result import is_finite
from xlt.trainables.spec.cost import CPU, Cost, name_gpu_type

CUDA = "cuda:"
"""Start of the device of a trial that computed on a GPU; the name of the GPU follows."""
NOT_COUNTED = (
    "Killed and failed attempts, start-up, explanations, searches, pre-training and idle machines "
    "are not counted."
)


def describe_cost(collected: Collected) -> list[str]:
    """Describe what the done trials cost, in sentences.

    Returns:
        A sentence on money if the plan has prices, and one on energy if trials measured it.
    """
    cost, records = collected.plan.cost, list_done_records(collected)
    sentences = []
    if cost and cost.prices and records:
        written = write_cost(count_hours(records), cost)
        sentences.append(f"Cost of {len(records)} done trials: {written}. {NOT_COUNTED}")
    names = "energy_kwh", "co2_kg"
    energies = [[r.get("execution", {}).get(name) for name in names] for r in records]
    if measured := [pair for pair in energies if all(map(is_finite, pair))]:
        kwh, co2_kg = map(sum, zip(*measured, strict=True))
        sentences.append(
            f"Energy of {len(measured)} of {len(records)} done trials, estimated by codecarbon: "
            f"{_round(kwh)} kWh, {_round(co2_kg)} kg CO2e."
        )
    return list(map(plain_line, sentences))


def list_done_records(collected: Collected) -> list[Mapping[str, Any]]:
    """List the records of the done trials; a trial occurs once."""
    done = dict.fromkeys(row.trial_id for row in collected.rows if row.is_done)
    return [collected.records[trial_id] for trial_id in done]


def count_hours(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Count the hours of trials by hardware.

    A trial uses its seconds x processes x share of a GPU, or CPU cores where it computed on none.
    The members of a pack each record their own part of the shared passes, so the sum over them is
    the time of their process.

    Args:
        records: Contents of trial.json.

    Returns:
        Type of GPU -> GPU hours, and :data:`CPU` -> hours of CPU cores.
    """
    hours: dict[str, float] = defaultdict(float)
    for record in records:
        resources = record["spec"]["resources"]
        num_workers = record.get("execution", {}).get("num_workers")
        if not is_finite(num_workers):  # early trials do not say
            num_workers = resources["workers"]
        process_hours = count_seconds(record) * num_workers / 3600
        device = str(record["signature"].get("device"))
        if device.startswith(CUDA):
            # Without Ray a trial may compute on a GPU that it does not reserve: it has it alone.
            hours[name_gpu_type(device.removeprefix(CUDA))] += process_hours * (
                resources["gpus"] or 1.0
            )
        else:
            hours[CPU] += process_hours * resources["cpus"]
    return dict(hours)


def count_seconds(record: Mapping[str, Any]) -> float:
    """Sum the seconds of all stages of a trial; 0 if it recorded none."""
    timings = record.get("timings")
    stages = timings.values() if isinstance(timings, dict) else ()
    return sum(float(seconds) for seconds in stages if is_finite(seconds))


def write_cost(hours: Mapping[str, float], cost: Cost) -> str:
    """Write hours x prices and their sum, e.g. ``2.00 H100 hours x 2.49 = 4.98 USD``.

    Args:
        hours: Hours as of :func:`count_hours`.
        cost: Prices; hours of hardware without one are named and not in the sum.
    """
    prices = cost.prices
    terms, without = [], []
    for kind in sorted(hours):
        text = f"{_round(hours[kind])} {kind} hours"
        if kind in prices:
            terms.append(f"{text} x {prices[kind]:g}")
        else:
            without.append(text)
    total = sum(hours[kind] * prices[kind] for kind in hours.keys() & prices)
    parts = [f"{' + '.join(terms)} = {_round(total)} {cost.currency}".rstrip()] if terms else []
    if without:
        priced = f"; there are prices of {', '.join(sorted(prices))}" if prices else ""
        parts.append(f"not included, because no price is known: {', '.join(without)}{priced}")
    return "; ".join(parts)


def with_prices(collected: Collected, texts: Iterable[str]) -> Collected:
    """Replace or add prices of the plan.

    Args:
        collected: The trials.
        texts: Prices such as ``H100=2.49`` or ``CPU=0.04``.

    Raises:
        InputError: A text is no price, or names hardware that no done trial used.
    """
    given = dict(map(_parse_price, texts))
    if not given:
        return collected
    cost = collected.plan.cost or Cost()
    used = count_hours(list_done_records(collected)).keys() | cost.prices.keys()
    known = {*used, CPU}
    problems = [unknown("type of GPU", kind, known) for kind in given if kind not in known]
    if used and problems:  # before the first trial is done, any type may follow
        raise InputError(problems, "--price")
    cpu = given.pop(CPU, cost.per_cpu_hour)
    changes = {"per_gpu_hour": {**cost.per_gpu_hour, **given}, "per_cpu_hour": cpu}
    plan = collected.plan.model_copy(update={"cost": cost.model_copy(update=changes)})
    return replace(collected, plan=plan)


def _parse_price(text: str) -> tuple[str, float]:
    """Parse the type of hardware and its price an hour."""
    kind, _, amount = text.partition("=")
    try:
        price = float(amount)
    except ValueError:
        price = math.nan
    if not kind or not 0 <= price < math.inf:
        problem = "give a type of GPU, or CPU, and an amount of 0 or more, e.g. H100=2.49"
        raise InputError(f"{text!r} is no price: {problem}", "--price")
    return kind, price


def _round(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.3g}"
