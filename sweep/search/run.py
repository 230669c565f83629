"""search_rates: from an experiment to a learning rate for each of its cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.console import Console

from xlt.analysis.search.choose import Choice, read_search
from xlt.data.core.retry import retry
from xlt.data.core.text import first_line
from xlt.data.dataset.schema import Dataset
from xlt.sweep.backends.events import Failed, Unwritable
from xlt.sweep.backends.registry import pretrain_missing, refuse_unresolved
from xlt.sweep.backends.unwritable import refuse_unwritable
from xlt.sweep.driver.console import say
from xlt.sweep.driver.lease import hold_lease
from xlt.sweep.driver.progress import Progress
from xlt.sweep.driver.session import Session, open_session
from xlt.sweep.driver.silence import SilenceWatch
from xlt.sweep.experiment.chosen_rates import ChosenRates, collect_chosen_rates
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.experiment.search import LearningRates, Rates
from xlt.sweep.machines.ray_folder import find_ray_logs
from xlt.sweep.planning.gate import check_data, refuse_errors
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import Prepared, prepare
from xlt.sweep.search.budget import Budget
from xlt.sweep.search.cells import (
    SearchCell,
    make_search_cells,
    make_search_plan,
    select_search_rows,
)
from xlt.sweep.search.config_report import ConfigReport
from xlt.sweep.search.searchers import Config, make_searcher
from xlt.trainables.results.adopt import adopt_results
from xlt.trainables.results.result import Results
from xlt.trainables.results.search_plan import SearchedCell, SearchedConfig, SearchPlan


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Attributes:
        plan: The search with every config that was tried.
        choices: The choice for each cell.
        results: The results location.
        was_done: Whether the same search had finished before, so that nothing ran.
        interrupted: Whether Ctrl-C ended the search.
    """

    plan: SearchPlan
    choices: list[Choice]
    results: Results
    was_done: bool = False
    interrupted: bool = False

    @property
    def chosen(self) -> ChosenRates:
        """The chosen rates, as ``learning_rates`` of an experiment and its file has them."""
        return collect_chosen_rates(self.plan, self.choices)


def search_rates(
    experiment: Experiment,
    results: str | None = None,
    *,
    address: str | None = None,
    only: str = "",
    wait: bool = False,
    adopt: bool = False,
    console: Console | None = None,
) -> SearchOutcome:
    """Try learning rates on the dev rows of every cell, and choose one for each cell.

    The trials of a search get a data set without test rows. A config that was tried before, also
    by a search with other settings, does not run again.

    Args:
        experiment: The experiment; its ``search`` block says which configs are tried.
        results: Results location, a folder or URI; None: the location in the experiment.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else a local cluster.
        only: Cells to search, such as ``model=llama2,pattern=ja16``; empty for all.
        wait: Whether to wait while another process runs or searches the same experiment.
        adopt: Whether a folder without a marker may be the location if it holds finished trials.
        console: Where progress is shown; None: standard error.

    Raises:
        InputError: The reasons of :func:`run_sweep`, or dev rows that cannot be held out.
    """
    session = open_session(experiment, results, address=address, only=only, console=console)
    if adopt:
        adopt_results(session.location)
    session.location.prepare()
    with hold_lease(session.location, experiment.name, session.console, wait=wait):
        return search_held(prepare(experiment), session)


def search_held(prepared: Prepared, session: Session) -> SearchOutcome:
    """Search while this process holds the lease of the experiment."""
    grid, location = expand(prepared), session.location
    dataset = select_search_rows(grid)
    cells = make_search_cells(grid, dataset, session.selection)
    refuse_errors(grid, check_data(grid))
    refuse_unresolved(cell.templates[0] for cell in cells)
    plan = make_search_plan(grid, cells)
    earlier = location.read_search(prepared.experiment.name)
    if earlier and earlier.search_id == plan.search_id and earlier.is_finished:
        return SearchOutcome(earlier, read_search(location, earlier), location, was_done=True)
    running = _Search(plan, cells, session, prepared.experiment)
    interrupted = False
    try:
        running.run(grid, dataset)
    except KeyboardInterrupt:
        interrupted = True
    choices = retry(lambda: read_search(location, running.plan))
    return SearchOutcome(running.plan, choices, location, interrupted=interrupted)


class _Search:
    """A search while it runs: its plan grows with every config that is tried."""

    def __init__(
        self, plan: SearchPlan, cells: list[SearchCell], session: Session, experiment: Experiment
    ) -> None:
        self.plan = plan
        self._packing, self._settings = experiment.packing, experiment.search
        self._budget = Budget(self._settings)
        self._cells = {cell.name: cell for cell in cells}
        self._location, self._console = session.location, session.console
        self._address = session.address
        self._num_ended = 0
        self._silence = SilenceWatch(
            "no learning rate has started or ended",
            lambda: f"{self._num_ended} ended; see {find_ray_logs()}",
            self._say,
        )

    def run(self, grid: Grid, dataset: Dataset) -> None:
        """Search, then search once more beyond the end of each range whose end was best."""
        from xlt.sweep.on_ray.tune.backend import TuneBackend

        self._update()
        refuse_unwritable(self._location, self._budget.unwritable)
        specs = [cell.templates[0] for cell in self._cells.values()]
        runner: TuneBackend | None = None
        try:
            with Progress(specs, (), self._console, find_ray_logs()) as progress:
                runner = TuneBackend(self._address, specs)
                pretrain_missing(grid, specs, runner, progress)
            with self._silence:
                rates = {name: cell.rates for name, cell in self._cells.items()}
                is_complete = self._search(rates, dataset)
                is_complete = is_complete and self._search(self._widen(), dataset)
        finally:
            if runner:
                runner.close()
        self._update(is_finished=True, why_stopped="" if is_complete else self._budget.why)
        refuse_unwritable(self._location, self._budget.unwritable)

    def _search(self, rates: dict[str, Rates], dataset: Dataset) -> bool:
        """Search cells in the given ranges; return whether the search ended within its budget."""
        from xlt.sweep.search.on_tune import CellSearch, Listener, search_on_tune

        searches = []
        for name, cell_rates in rates.items():
            cell = self._cells[name]
            settings, own_rate = cell.settings, cell.own_rate
            if cell_rates != cell.rates:  # a widened range gets half as many configs
                num_configs = max(1, settings.num_configs // 2)
                settings = settings.model_copy(update={"num_configs": num_configs})
            grace = math.ceil(settings.min_dev_rows / cell.num_dev_rows)
            searcher = make_searcher(settings, cell_rates, own_rate, name)
            searches.append(CellSearch(name, cell.templates, cell.dev_kinds, grace, searcher))
        if not searches:
            return True
        is_complete = search_on_tune(
            searches, dataset, self._location, self._settings, self.plan.metric,
            Listener(self._on_start, self._on_end), self._budget, self._packing,
        )  # fmt: skip
        if not is_complete and not self._budget.why:
            raise KeyboardInterrupt  # Tune returns normally on Ctrl-C
        return is_complete

    def _widen(self) -> dict[str, Rates]:
        """Widen each range whose end was best; return the parts beyond the ends, by cell."""
        ranges: dict[str, Rates] = {}
        for choice in retry(lambda: read_search(self._location, self.plan)):
            cell, rates = choice.cell, self._cells[choice.cell.name].rates
            if choice.best is None or not choice.edge or not isinstance(rates, LearningRates):
                continue
            wider = rates.widened(upwards=choice.edge == "high")
            ranges[cell.name] = wider
            low, high = min(cell.low, wider.low), max(cell.high, wider.high)
            self._update_cell(cell.name, low=low, high=high, was_widened=True)
            self._say(
                f"{cell.name}: the best, {choice.best.config}, is the {choice.edge} end of the "
                f"range; searching on to {wider.low if choice.edge == 'low' else wider.high:.3g}"
            )
        return ranges

    def _on_start(self, name: str, config: Config, trial_ids: tuple[str, ...]) -> None:
        self._silence.heard()
        self._set_config(name, SearchedConfig(**config, trial_ids=trial_ids))

    def _on_end(self, name: str, config: Config, report: ConfigReport | None) -> None:
        self._silence.heard()
        self._num_ended += 1
        num, num_planned = report.replicates if report else 0, len(self._cells[name].replicates)
        failure = report and report.failure
        if isinstance(failure, Failed):
            text = f"failed: {first_line(failure.error)}"
        elif report is None or failure:
            text = "its process ended; it will be tried again"
        else:
            given_up = "" if num == num_planned else ", given up"
            trials = f"{num} of {num_planned} trials{given_up}"
            text = f"dev {self.plan.metric} {report.score:.3f} ({trials})"
        tried = next(c for c in self._find_configs(name) if c.tried_with(config))
        # A failed config failed on the replicate after the reported ones.
        num_tried = num + isinstance(failure, Failed)
        self._set_config(name, tried.model_copy(update={"num_tried": num_tried}))
        self._say(f"[{self._num_ended}] {name}: learning rate {tried}: {text}")

    def _find_configs(self, name: str) -> tuple[SearchedConfig, ...]:
        return next(cell.configs for cell in self.plan.cells if cell.name == name)

    def _set_config(self, name: str, config: SearchedConfig) -> None:
        others = [c for c in self._find_configs(name) if c.trial_ids != config.trial_ids]
        self._update_cell(name, configs=(*others, config))

    def _say(self, line: str) -> None:
        say(self._console, line)

    def _update_cell(self, name: str, **changes: Any) -> None:
        def update(cell: SearchedCell) -> SearchedCell:
            return cell.model_copy(update=changes) if cell.name == name else cell

        self._update(cells=tuple(map(update, self.plan.cells)))

    def _update(self, **changes: Any) -> None:
        """Change and write the plan; if it cannot be written, the search ends.

        The error is kept, not raised, because Tune calls this in its own loop and would print a
        traceback.
        """
        self.plan = self.plan.model_copy(update=changes)
        if self._budget.unwritable:
            return
        try:
            retry(lambda: self._location.save_search(self.plan))
        except (pa.ArrowException, OSError) as error:
            self._budget.unwritable = Unwritable(str(error))
