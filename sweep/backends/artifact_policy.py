"""ArtifactPolicy: what a trial writes besides its result, and the kept models that it reuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.methods import KeepModels


@dataclass(frozen=True)
class ArtifactPolicy:
    """Settings of a run that say which files trials keep and reuse; they change no number.

    Attributes:
        models: Weights to keep, see :func:`run_trial`.
        cells: For ``models="best"``: trial id -> ids of all trials of its cell.
        explain: Settings for explaining the test rows after training; None disables it.
        checkpoint_minutes: Least time between two checkpoints; None disables them.
        extensions: Trial id -> finished trial whose kept model predicts for it.
        members: Id of a mean of trials -> ids of the trials whose kept weights it averages.
        first_stages: Trial id -> trial whose training its first stage repeats. If that trial has
            kept its model, the stage starts from it.
        energy_country: Country whose electricity mix gives the CO2 of trials; empty: no trial
            measures its energy.
    """

    models: KeepModels = "none"
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    explain: Explain | None = None
    checkpoint_minutes: float | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    first_stages: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    energy_country: str = ""
