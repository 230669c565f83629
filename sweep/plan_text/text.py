"""The text that `xlt plan` prints: the grid in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xlt.data.core.errors import InputError
from xlt.data.core.finding import SEVERITIES
from xlt.data.tables.aligned_text import align
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.plan_text.negatives import describe_test_rows
from xlt.sweep.plan_text.row_weights import describe_target_share, describe_without_effect
from xlt.sweep.plan_text.stages import describe_regime, describe_stages
from xlt.sweep.plan_text.stopping import describe_stopping
from xlt.sweep.plan_text.test_langs import describe_test_langs
from xlt.sweep.planning.cell import ZERO_SHOT, Cell
from xlt.sweep.planning.extensions import find_extensions
from xlt.sweep.planning.gate import check_data
from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.ledger import Ledger, read_ledger
from xlt.sweep.planning.trained_rows import describe_source_langs, describe_source_rows
from xlt.sweep.planning.translations import describe_translated_rows, describe_translations
from xlt.trainables.models.hub import UNRESOLVED
from xlt.trainables.results.result import Results
from xlt.trainables.spec.selection import EVERY_CELL, Selection
from xlt.trainables.spec.training import Training

NUM_DRAWS = 3
"""Number of draws of training rows whose cost a plan on one draw states."""


def describe_plan(grid: Grid, location: Results, selection: Selection = EVERY_CELL) -> str:
    """Count all trials, and describe every cell: its learning rate, or why it cannot exist.

    Args:
        grid: The grid.
        location: The results location, which is only read.
        selection: The cells that would run; the other cells are counted and listed as well.
    """
    try:
        location.check()
        trouble = ""
    except InputError as error:
        trouble = f"\nNot usable as results location: {error}"
    ledger = read_ledger(location, [spec.trial_id for spec in grid.specs])
    parts = [
        _describe_experiment(grid, location, ledger),
        *_describe_selection(grid, ledger, selection),
    ]
    parts += [*_describe_extensions(grid, location)] if not trouble else []
    parts += [_describe_cells(grid, ledger), *_describe_base_models(grid)]
    parts += [*_list_notes(grid), _describe_findings(grid)]
    return "\n".join(parts) + trouble


def _describe_experiment(grid: Grid, location: Results, ledger: Ledger) -> str:
    experiment = grid.experiment
    cells = [cell for cell in grid.cells if cell.specs]
    num_means = sum(bool(spec.mean_of) for spec in grid.specs)
    training, sampling = experiment.training, experiment.sampling
    steps = sum(spec.num_steps for spec in grid.specs)
    at_most = "at most " * any(spec.stopping_dev for spec in grid.specs)
    states = [f"{len(ledger.done)} done"]
    states += [f"{len(ledger.failed)} failed"] if ledger.failed else []
    states += [f"{len(ledger.corrupt)} damaged"] if ledger.corrupt else []
    return "\n".join(
        [
            f"Experiment {experiment.name}" + (f": {experiment.title}" if experiment.title else ""),
            f"{len(grid.specs) - num_means} trials = {len(cells) - num_means} cells x "
            f"{_describe_trials(experiment)}; "
            + (f"{num_means} means of kept models; " if num_means else "")
            + f"{len(grid.cells) - len(cells)} cells cannot exist",
            f"Each: {at_most}{training.num_train_epochs} epochs, batch size {training.batch_size}, "
            f"{training.lr_schedule} schedule; {sampling.test_rows} test rows; "
            f"{at_most}{steps:,} steps in all",
            *_describe_average(training),
            *describe_stopping(grid.specs),
            *describe_stages(grid),
            *_describe_one_draw(grid),
            *describe_source_langs(experiment),
            *describe_test_langs(experiment, grid.dataset, grid.test_ids),
            *describe_test_rows(grid),
            f"Data {grid.dataset.fingerprint[:12]} from {experiment.data.as_given()}",
            f"Results {location.uri}: {', '.join(states)}, {len(ledger.pending)} to run",
        ]
    )


def _describe_average(training: Training) -> list[str]:
    """Say which weights count, if they are a mean."""
    if training.average is None:
        return []
    last_k = training.average.last_k
    return [f"Tested and kept: the mean of the weights after each of the last {last_k} epochs"]


def _describe_selection(grid: Grid, ledger: Ledger, selection: Selection) -> list[str]:
    if selection == EVERY_CELL:
        return []
    cells = grid.selected(selection)
    ids = {spec.trial_id for cell in cells for spec in cell.specs}
    num_left = len(ids & {*ledger.pending})
    return [f"Selected: {len(ids)} trials of {len(cells)} cells, {num_left} to run"]


def _describe_extensions(grid: Grid, location: Results) -> list[str]:
    """Say which trials are done in other test languages."""
    try:
        extensions = find_extensions(grid, location)
    except InputError as error:
        return [f"`xlt run` would refuse: {problem}" for problem in error.problems]
    if not extensions:
        return []
    return [
        f"{len(extensions)} trials train nothing: their models are kept, and only predict in the "
        "new test languages"
    ]


def _describe_trials(experiment: Experiment) -> str:
    """Describe the draws and seeds of a cell."""
    seeds = f"{len(experiment.seeds)} seeds {list(experiment.seeds)}"
    if experiment.draws == "per_seed":
        return f"{seeds}, each on its own draw of training rows"
    if experiment.draws == (0,):
        return seeds
    return f"{len(experiment.draws)} draws of training rows {list(experiment.draws)} x {seeds}"


def _describe_one_draw(grid: Grid) -> list[str]:
    """State what several draws of training rows would cost, if the experiment has one."""
    experiment, num_trials = grid.experiment, sum(not spec.mean_of for spec in grid.specs)
    num_draws = len({draw_index for draw_index, _ in experiment.draws_and_seeds})
    if num_draws > 1:
        return []
    steps = sum(spec.num_steps for spec in grid.specs)
    per_seed = "; `draws=per_seed` takes as many trials as now" * (len(experiment.seeds) > 1)
    return [
        "On one draw of training rows, so results say nothing about other rows. "
        f"`--set draws={[*range(NUM_DRAWS)]}`: {NUM_DRAWS * num_trials} trials, "
        f"{NUM_DRAWS * steps:,} steps{per_seed}"
    ]


def _describe_cells(grid: Grid, ledger: Ledger) -> str:
    counts = ("train rows", "learning rate", "trials", "done")
    heading = ("base model", "pattern", "method", *counts, "remark")
    rows = [heading, *(_make_row(cell, ledger) for cell in grid.cells)]
    return "\n".join(align(rows, numbers=[heading.index(name) for name in counts]))


def _make_row(cell: Cell, ledger: Ledger) -> list[str]:
    names = [cell.model.name, cell.pattern.name, cell.resolved.method]
    if not cell.specs:
        return [*names, "-", "-", "-", "-", cell.skipped]
    spec = cell.specs[0]
    pattern = spec.pattern
    rows = f"{pattern.num_train_rows - pattern.target_rows}+{pattern.target_rows}"
    done = sum(s.trial_id in set(ledger.done) for s in cell.specs)
    remarks = [f"is {' and '.join(p.name for p in cell.serves)}"] if len(cell.serves) > 1 else []
    remarks += [describe_source_rows(cell.model, pattern, spec.source_lang)]
    remarks += [describe_translated_rows(pattern, spec.source_lang, spec.sampling.test_rows)]
    remarks += [describe_target_share(spec), describe_regime(spec)]
    remarks += [f"override {o.match}: {o.why or 'no reason given'}" for o in cell.overrides]
    remarks += [str(cell.chosen)] if cell.chosen else []
    remarks += [f"run again: {cell.rescued.why}"] if cell.rescued else []
    remarks += [f"{cell.average}; trains nothing"] if cell.average else []
    remarks += [ZERO_SHOT] if cell.is_zero_shot else []
    rate = "-" if spec.learning_rate is None else f"{spec.learning_rate:g}"
    return [*names, rows, rate, str(len(cell.specs)), str(done), "; ".join(filter(None, remarks))]


def _describe_base_models(grid: Grid) -> list[str]:
    """Describe every base model that is not a miniature, with derived settings."""
    with_base = [cell for cell in grid.cells if cell.model.has_base_model]
    cells = {cell.model.name: cell for cell in with_base if not cell.model.miniature}
    if not cells:
        return []
    heading = ("base model", "kind", "weights", "adapters on", "pad token", "longest text")
    return ["\n".join(align([heading, *map(_make_base_model_row, cells.values())]))]


def _make_base_model_row(cell: Cell) -> list[str]:
    model, checkpoint = cell.model, cell.resolved.checkpoint
    weights = (
        f"{model.path}@{cell.resolved.revision[:12]}" if cell.resolved.revision else model.path
    )
    targets: str | Sequence[str] = model.lora.target_modules
    if isinstance(targets, str) and checkpoint and checkpoint.linear:
        targets = checkpoint.linear
    adapters = targets if isinstance(targets, str) else " ".join(targets)
    pad = model.pad_token or (checkpoint.pad_token if checkpoint else None)
    longest = checkpoint.max_positions if checkpoint else None
    return [
        model.name,
        cell.resolved.kind or "not known",
        weights,
        adapters if cell.resolved.method == "lora" else "-",
        pad or "from its tokenizer",
        f"{longest:,} tokens" if longest else "not known" if not checkpoint else "any",
    ]


def _describe_findings(grid: Grid) -> str:
    """List the findings of the gate; infos are only counted."""
    findings = check_data(grid)
    accepted = grid.experiment.accept_findings
    lines = [
        f"{f.severity}{' (accepted)' if f.about in accepted else ''}, {f.about}: {f.message}"
        for f in findings
        if f.severity != "info"
    ]
    counts = Counter(finding.severity for finding in findings)
    numbers = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES)
    head = f"Data checked: {numbers} (`xlt data audit` shows all)"
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _list_notes(grid: Grid) -> list[str]:
    notes = [
        f"Translations: {line}" for line in describe_translations(grid.experiment, grid.dataset)
    ]
    notes += describe_without_effect(grid)
    if grid.experiment.learning_rate == "auto":
        notes.append("learning_rate: auto: the rates above are searched first, see `xlt search`")
    unresolved = ", ".join(sorted({s.base_model for s in grid.specs if s.revision == UNRESOLVED}))
    if unresolved:
        notes.append(f"{unresolved}: newest commit unknown without the hub; it is pinned at launch")
    return notes
