"""Energy of trials, estimated by codecarbon in the process that trains them."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from xlt.trainables.results.trial_result import TrialResult

PACKAGE = "codecarbon"
INSTALL = "pip install 'xlt-sweep[energy]'"


def find_energy_problem(country: str) -> tuple[str, str] | None:
    """Find why energy cannot be measured here.

    Args:
        country: Three letters of ISO 3166.

    Returns:
        The problem and its remedy; None if there is none.
    """
    if find_spec(PACKAGE) is None:
        return f"needs the package {PACKAGE}, which is not installed", INSTALL
    from codecarbon.input import DataSource

    known = DataSource().get_global_energy_mix_data()
    if country in known:
        return None
    near = difflib.get_close_matches(country, known, n=1)
    remedy = "give three letters of ISO 3166, e.g. JPN" + (f"; similar: {near[0]}" * len(near))
    return f"{PACKAGE} has no electricity mix of country {country!r}", remedy


@contextmanager
def measure_energy(country: str) -> Iterator[Callable[[TrialResult], TrialResult]]:
    """Measure the energy of this process inside the context; nothing is sent, written or printed.

    A trial gets the mean power since the start x its seconds x its processes, so that the members
    of a pack share the energy of their process. Of a GPU it gets the share that it reserves.

    Args:
        country: Country whose electricity mix gives the CO2; empty: nothing is measured.

    Yields:
        A function that adds ``energy_kwh`` and ``co2_kg`` to the execution of a result.
    """
    if not country:
        yield lambda result: result
        return
    tracker, totals = _start_tracker(country)
    try:
        yield lambda result: _add_energy(result, tracker, totals)
    finally:
        tracker.stop()


def _start_tracker(country: str) -> tuple[Any, list[Any]]:
    """Start a tracker; its ``flush`` appends the totals since the start to the list."""
    import codecarbon
    from codecarbon.output_methods.base_output import BaseOutput

    class Totals(BaseOutput):  # type: ignore[misc]
        def out(self, total: Any, delta: Any) -> None:
            totals.append(total)

    totals: list[Any] = []
    logging.getLogger(PACKAGE).setLevel(logging.CRITICAL)
    # The user's own settings of codecarbon (CODECARBON_PUE ...) hold, but for those given here. CPU
    # load and not RAPL, whose counters hold the energy of all processes of the machine.
    tracker = codecarbon.OfflineEmissionsTracker(
        country_iso_code=country,
        region=None,
        cloud_provider=None,
        tracking_mode="process",
        force_mode_cpu_load=True,
        gpu_ids=_find_gpu(),
        output_methods=[],
        output_handlers=[Totals()],
        emissions_endpoint=None,
        electricitymaps_api_token="",
        log_level="critical",
    )
    tracker.start()
    return tracker, totals


def _find_gpu() -> list[str] | None:
    """Find the GPU of this process among those of the machine; None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [visible.split(",")[index].strip() if visible else str(index)]


def _add_energy(result: TrialResult, tracker: Any, totals: list[Any]) -> TrialResult:
    """Add the energy of a trial to its execution; nothing if codecarbon measured none."""
    tracker.flush()
    if not totals or not totals[-1].energy_consumed:
        return result
    total = totals[-1]
    uses_gpu = str(result.signature["device"]).startswith("cuda:")
    share = (result.spec.resources.gpus or 1.0) if uses_gpu else 0.0
    energy = total.cpu_energy + total.ram_energy + share * total.gpu_energy
    seconds = sum(result.timings.values()) * result.execution["num_workers"]
    kwh = energy * seconds / total.duration
    co2_kg = kwh * total.emissions / total.energy_consumed
    measured = {"energy_kwh": float(f"{kwh:.6g}"), "co2_kg": float(f"{co2_kg:.6g}")}
    return replace(result, execution=result.execution | measured)
