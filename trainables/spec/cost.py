"""Cost: prices of the hardware that trials use, from which reports compute money."""

from __future__ import annotations

import re
from typing import Annotated

import pydantic

from xlt.data.core.settings import Settings, added_later

Price = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False, strict=True)]

CPU = "CPU"
"""Name of CPU cores beside the types of GPUs."""

_GPU_MODEL = re.compile(r"\w+\s+((?:[A-Z]+\s+)*[A-Z0-9]*\d[A-Z0-9]*)")


class Energy(Settings):
    """Measurement of the energy of trials (trainables/trial/energy.py)."""

    country: str
    """Three letters of the country whose electricity mix gives the CO2, by ISO 3166, e.g. JPN."""


class Cost(Settings):
    """Prices of GPUs and CPUs, and the measurement of energy; they change no trial."""

    currency: str = ""
    """Currency of the prices, printed behind amounts, e.g. USD; empty: none is printed."""
    per_gpu_hour: dict[str, Price] = pydantic.Field(default_factory=dict)
    """Price of an hour of a GPU by its type in Ray, e.g. {H100: 2.49}; it includes the CPUs that a
    trial on the GPU uses."""
    per_cpu_hour: Price | None = None
    """Price of an hour of a CPU core, for trials that do not compute on a GPU; None: not known."""
    energy: Energy | None = added_later(None)
    """How trials measure their energy; None: they do not."""

    @pydantic.field_validator("currency")
    @classmethod
    def _is_code(cls, currency: str) -> str:
        if currency and not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError("is no code of a currency: three capital letters, e.g. USD")
        return currency

    @property
    def energy_country(self) -> str:
        """Country for which trials measure their energy; empty: they do not."""
        return self.energy.country if self.energy else ""

    @property
    def prices(self) -> dict[str, float]:
        """Type of GPU, or :data:`CPU` -> price of an hour."""
        cpu = {} if self.per_cpu_hour is None else {CPU: self.per_cpu_hour}
        return {**self.per_gpu_hour, **cpu}


def name_gpu_type(name: str) -> str:
    """Name the type of a GPU as Ray 2.60 does (ray/_private/accelerators/nvidia_gpu.py).

    Args:
        name: Name that the driver gives, e.g. ``NVIDIA A100-SXM4-80GB``.

    Returns:
        Its model without the form, e.g. ``A100``.
    """
    model = _GPU_MODEL.match(name)
    if model and len(model.group(1)) > 1:
        return model.group(1).replace(" ", "-")
    return re.sub(r"^NVIDIA\s+", "", name).strip().replace(" ", "-")
