"""Block ``tracking`` of an experiment file."""

from __future__ import annotations

import pydantic

from xlt.data.core.settings import Settings
from xlt.sweep.tracking.registry import Destination, parse_destinations


class Tracking(Settings):
    """Experiment trackers that get each trial when it ends; no trial depends on them."""

    to: tuple[str, ...] = ()
    """Trackers: mlflow, tensorboard, trackio or wandb, each with its place, if it is not the
    default: mlflow=http://127.0.0.1:5000."""
    artifacts: bool = False
    """Whether the files of a trial that ``xlt track --artifacts`` names are sent, too."""

    @pydantic.field_validator("to", mode="before")
    @classmethod
    def _one_name(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @pydantic.field_validator("to")
    @classmethod
    def _known(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(str, parse_destinations(texts)))

    @property
    def destinations(self) -> list[Destination]:
        """The trackers and their places."""
        return parse_destinations(self.to)
