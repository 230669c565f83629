"""The files of an experiment in a results location: its text, plan, search, rates and lease."""

from __future__ import annotations

import pyarrow.fs as pafs

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.files import to_json
from xlt.trainables.results.layout import (
    EXPERIMENTS,
    PLAN_SUFFIX,
    SEARCHES,
    experiment_file,
    lease_file,
    plan_file,
    rescued_file,
    search_file,
)
from xlt.trainables.results.location import ResultsRoot, inside_root
from xlt.trainables.results.plan import Plan
from xlt.trainables.results.search_plan import SearchPlan


class ExperimentFiles(ResultsRoot):
    """A results location with the files of its experiments."""

    def experiments(self) -> list[str]:
        """Names of the experiments that have run here, sorted."""
        return self._list_names(PLAN_SUFFIX)

    @inside_root
    def save_experiment(self, plan: Plan, as_run: str) -> None:
        """Write an experiment's plan and its YAML text as it is run."""
        self.make_experiments_folder()
        self.write(experiment_file(plan.experiment), as_run.encode())
        self.write(plan_file(plan.experiment), to_json(plan.model_dump(mode="json")))

    def read_experiment(self, experiment: str) -> tuple[str, str] | None:
        """Read an experiment as it was run.

        Returns:
            Its YAML text and the path of that file; None if there is no such file.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            return self._read_text(experiment_file(experiment))
        except FileNotFoundError:
            return None
        except OSError as error:
            path = self.path(experiment_file(experiment))
            raise InputError(f"{path} cannot be read: {error}") from error

    def read_plan(self, experiment: str) -> Plan:
        """Read the plan of an experiment.

        Raises:
            InputError: No such experiment here, or its plan is damaged.
        """
        file = plan_file(experiment)
        if not self.exists(file):
            raise InputError(unknown("experiment", experiment, self.experiments()), self.uri)
        return Plan.parse(self.read_json(file), self.path(file))

    @inside_root
    def save_search(self, plan: SearchPlan) -> None:
        """Write the plan of a learning-rate search; it replaces that of an earlier search."""
        self.make_folder(SEARCHES)
        self.write(search_file(plan.experiment), to_json(plan.model_dump(mode="json")))

    def read_search(self, experiment: str) -> SearchPlan | None:
        """Read the plan of the last search of an experiment; None if there was none.

        Raises:
            InputError: The plan is damaged.
        """
        file = search_file(experiment)
        if not self.exists(file):
            return None
        return SearchPlan.parse(self.read_json(file), self.path(file))

    @inside_root
    def save_rescued(self, experiment: str, rates: str) -> None:
        """Write the YAML text of the learning rates for cells that did not train."""
        self.write(rescued_file(experiment), rates.encode())

    def read_rescued(self, experiment: str) -> tuple[str, str] | None:
        """Read the learning rates for cells that did not train.

        Returns:
            Their YAML text and the path of that file; None if no cell was run again.
        """
        file = rescued_file(experiment)
        return self._read_text(file) if self.exists(file) else None

    @inside_root
    def make_experiments_folder(self) -> None:
        """Create the folder of plans and leases, if it is missing."""
        self.make_folder(EXPERIMENTS)

    def lease_file(self, experiment: str) -> str:
        """Path of an experiment's lease, relative to the root."""
        return lease_file(experiment)

    def leased(self) -> list[str]:
        """Names of the experiments that have a lease, sorted."""
        return self._list_names(lease_file("").rpartition("/")[2])

    def _list_names(self, suffix: str) -> list[str]:
        selector = pafs.FileSelector(self.path(EXPERIMENTS), allow_not_found=True)
        names = [info.base_name for info in self.fs.get_file_info(selector)]
        return sorted(n.removesuffix(suffix) for n in names if n.endswith(suffix))

    def _read_text(self, file: str) -> tuple[str, str]:
        return self.read(file).decode(), self.path(file)
