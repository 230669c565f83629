"""Whether base models can be had and read, how large they are, and what is to be downloaded."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import Checked, gib
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.models.base_models import MINIATURE, BaseModel, local_folder
from xlt.trainables.models.hub import hub_files
from xlt.trainables.models.miniatures import find_miniature
from xlt.trainables.models.weights_folder import Checkpoint, read_checkpoint

COLUMNS = ("base model", "from", "architecture", "# parameters", "# download GiB", "remark")


def check(preflight: Preflight) -> Checked:
    """Files, tokenizers and their packages; parameters where torch may be asked."""
    problems: list[Finding] = []
    rows = []
    to_download: dict[str, int] = {}
    for name, kind in {kind.first.base_model: kind for kind in preflight.kinds}.items():
        row, found = _model(preflight, kind, to_download)
        rows.append((name, *row))
        problems += [Finding(name, "error", text) for text in found]
    num_bytes = sum(to_download.values())
    for node in preflight.nodes:
        if num_bytes > node.hub_cache_free:
            problems.append(
                Finding(
                    ", ".join(to_download),
                    "error",
                    f"{gib(num_bytes)} GiB are to be downloaded, and {node.hub_cache} on "
                    f"{node.name} has {gib(node.hub_cache_free)} GiB free",
                    "free some, or set HF_HOME to a larger disk",
                )
            )
    return Checked("Base models", COLUMNS, tuple(rows), tuple(problems))


def _model(
    preflight: Preflight, kind: TrialGroup, to_download: dict[str, int]
) -> tuple[tuple[str, ...], list[str]]:
    """(the cells after the name, what is wrong); adds to ``to_download`` by name."""
    spec = kind.first
    try:
        files = preflight.files(spec)
        checkpoint = read_checkpoint(files.folder) if files else None
    except InputError as error:
        return ("-", "-", "-", "-", "cannot be had"), error.problems
    if files is None and spec.base_identity.startswith(MINIATURE):
        recipe = find_miniature(spec.base_identity.split(":")[1])
        corpus = preflight.grid.experiment.pretraining
        steps = round(recipe.num_steps * corpus.step_factor)
        told = f"not cached: {steps:,} steps of pre-training first"
        return ("miniature", recipe.architecture, "-", "0", told), []
    if files is None or checkpoint is None:
        return ("hub", "-", "-", "-", "not asked"), []
    unfit = _unfit(preflight, spec.base_model, checkpoint)
    if files.to_download:
        to_download[spec.base_model] = files.to_download
    parameters, remark = "-", ""
    if preflight.asks_hub:
        from xlt.trainables.estimates.dry_run import UncountedError  # torch

        try:
            parameters = f"{preflight.dry_run(spec, kind.rows).num_parameters:,}"
        except UncountedError as error:
            remark = error.problems[0]
        except InputError as error:
            return (files.where, "-", "-", "-", "cannot be loaded"), [*unfit, *error.problems]
    cells = (files.where, checkpoint.model_type, parameters, gib(files.to_download), remark)
    return cells, unfit


def _unfit(preflight: Preflight, name: str, checkpoint: Checkpoint) -> list[str]:
    """What in a base model's settings does not go with it; the grid did not see all on the hub."""
    problems: dict[str, None] = {}
    for spec in (kind.first for kind in preflight.kinds if kind.first.base_model == name):
        targets = spec.lora.target_modules if spec.lora else ()
        problems |= dict.fromkeys(checkpoint.problems(targets, spec.training.max_length))
    return list(problems)


def hub_problems(models: Iterable[BaseModel]) -> list[str]:
    """What the hub tells against base models, for an experiment that has no grid.

    Of all together, and in the words in which the grid is refused for the same.
    """
    problems = []
    for model in models:
        try:
            if not model.miniature and not local_folder(model.path):
                hub_files(model.path, model.revision)
        except InputError as error:
            problems += [f"base model {model.name!r}: {problem}" for problem in error.problems]
    return problems
