"""Registry of experiment trackers: ``TRACKERS``, and the destinations that a user names."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from xlt.data.core.errors import InputError, find_doubles, unknown
from xlt.data.core.locations import refuse_secrets
from xlt.data.core.registries import load_entry

if TYPE_CHECKING:
    from xlt.sweep.tracking.runs import TrackedRun


class Entry(NamedTuple):
    """A tracker that runs can be sent to.

    Attributes:
        code: Class of the tracker, imported on first use: its arguments are a place and the name
            of an experiment.
        package: Python package that it needs.
        place: Kind of place that it has.
    """

    code: str
    package: str
    place: str


FOLDER = "a local folder"
TRACKERS = {
    "mlflow": Entry("xlt.sweep.tracking.mlflow_runs:MlflowRuns", "mlflow", "a tracking URI"),
    "tensorboard": Entry(
        "xlt.sweep.tracking.tensorboard_runs:TensorboardRuns", "tensorboardX", FOLDER
    ),
    "trackio": Entry("xlt.sweep.tracking.trackio_runs:TrackioRuns", "trackio", FOLDER),
    "wandb": Entry("xlt.sweep.tracking.wandb_runs:WandbRuns", "wandb", FOLDER),
}
"""Name, also of the extra that installs it -> tracker."""


class Tracker(Protocol):
    """An open tracker. Its constructor and its methods raise InputError if it cannot be used.

    Attributes:
        known: Trial id -> digest of each complete run that the tracker has of the experiment.
    """

    known: dict[str, str]

    def send(self, run: TrackedRun) -> None:
        """Write a run; it replaces an earlier or incomplete one of the same trial."""


class Destination(NamedTuple):
    """A tracker and its place, as a user names them.

    Attributes:
        name: Name in :data:`TRACKERS`.
        place: Tracking URI or folder; empty: the tracker's default.
    """

    name: str
    place: str

    def __str__(self) -> str:
        """The text that :func:`parse_destinations` reads."""
        return f"{self.name}={self.place}" if self.place else self.name

    def require_package(self) -> None:
        """Raise InputError, with the command that installs it, if the package is missing."""
        package = TRACKERS[self.name].package
        if find_spec(package) is None:
            raise InputError(
                f"tracker {self.name} needs the package {package}, which is not installed: "
                f"pip install 'xlt-sweep[{self.name}]'"
            )

    def open(self, experiment: str) -> Tracker:
        """Connect to the tracker.

        Args:
            experiment: Name of the experiment, the project of the runs.

        Raises:
            InputError: The package is missing, the place does not answer, or credentials are wrong.
        """
        self.require_package()
        make = load_entry({self.name: TRACKERS[self.name].code}, self.name)
        return cast(Tracker, make(self.place, experiment))


def parse_destinations(texts: Iterable[str]) -> list[Destination]:
    """Parse texts such as ``wandb``, ``mlflow=http://127.0.0.1:5000`` or ``wandb,trackio``.

    Raises:
        InputError: No or unknown names, a name given twice, a place of another kind, or a place
            that holds a secret; all problems together.
    """
    parts = [part.strip().partition("=") for text in texts for part in text.split(",")]
    destinations = [Destination(name, place) for name, _, place in parts]
    names = [name for name, _ in destinations]
    problems = [f"tracker {name!r} is given more than once" for name in find_doubles(names)]
    for name, place in destinations:
        if name not in TRACKERS:
            remedy = "`pip install 'xlt-sweep[NAME]'` installs a known one"
            problems.append(f"{unknown('tracker', name, TRACKERS)} {remedy}.")
            continue
        kind = TRACKERS[name].place
        if _has_secret(place):
            problems.append(
                f"the place of {name} contains a password or key, and places are written into "
                "files and logs; remove it and give it in the environment, see docs/tracking.md"
            )
        elif "://" in place and kind == FOLDER:
            problems.append(f"{place!r} is a URI; the place of {name} is {kind}")
        elif place and kind != FOLDER and "://" not in place and place != "databricks":
            problems.append(
                f"{place!r} is no tracking URI; write e.g. {name}=http://127.0.0.1:5000 or "
                f"{name}=sqlite:///mlflow.db"
            )
    if problems:
        raise InputError(problems)
    return destinations


def _has_secret(place: str) -> bool:
    try:
        refuse_secrets(place)
    except InputError:
        return True
    return False
