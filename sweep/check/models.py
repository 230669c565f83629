"""Check that base models can be reached and read, with their sizes and downloads."""

from __future__ import annotations

from collections.abc import Iterable

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.outcome import CheckOutcome, gib
from xlt.sweep.check.preflight import Preflight, TrialGroup
from xlt.trainables.models.architectures import describe_encoder
from xlt.trainables.models.base_models import MINIATURE, BaseModel, find_local_folder
from xlt.trainables.models.hub import ModelFiles, list_hub_files
from xlt.trainables.models.miniatures import find_miniature
from xlt.trainables.models.weights_folder import Checkpoint, read_checkpoint

TOKENIZER_REMEDY = "give the tokenizer that belongs to the model"
COLUMNS = ("base model", "from", "architecture", "# parameters", "# download GiB", "remark")


def check(preflight: Preflight) -> CheckOutcome:
    """Check files, tokenizers and their packages; count parameters if torch may be imported."""
    problems: list[Finding] = []
    rows = []
    to_download: dict[str, int] = {}
    for name, group in {group.first.base_model: group for group in preflight.groups}.items():
        row, errors, doubts = _check_model(preflight, group, to_download)
        rows.append((name, *row))
        problems += [Finding(name, "error", text) for text in errors]
        problems += [Finding(name, "warning", text, TOKENIZER_REMEDY) for text in doubts]
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
    return CheckOutcome("Base models", COLUMNS, tuple(rows), tuple(problems))


def _check_model(
    preflight: Preflight, group: TrialGroup, to_download: dict[str, int]
) -> tuple[tuple[str, ...], list[str], tuple[str, ...]]:
    """Return the row after the name, errors and doubts; add to ``to_download`` by name."""
    spec = group.first
    if not spec.has_base_model:
        return ("-", "-", "-", "0", "needs no base model"), [], ()
    try:
        files = preflight.files(spec)
        checkpoint = _find_checkpoint(preflight, spec.base_model, files)
    except InputError as error:
        return ("-", "-", "-", "-", "not usable"), error.problems, ()
    if files is None and spec.base_identity.startswith(MINIATURE):
        recipe = find_miniature(spec.base_identity.split(":")[1])
        corpus = preflight.grid.experiment.pretraining
        steps = round(recipe.num_steps * corpus.step_factor)
        remark = f"not cached: {steps:,} steps of pre-training first"
        return ("miniature", recipe.architecture, "-", "0", remark), [], ()
    if files is None or checkpoint is None:
        return ("hub", "-", "-", "-", "not asked"), [], ()
    unfit = _find_unfit_settings(preflight, spec.base_model, checkpoint)
    if files.to_download:
        to_download[spec.base_model] = files.to_download
    parameters, remark = "-", ""
    if preflight.asks_hub and not (spec.prompt and unfit):
        from xlt.trainables.estimates.dry_run import UncountedError  # torch

        try:
            parameters = f"{preflight.dry_run(spec, preflight.rows(group)).num_parameters:,}"
        except UncountedError as error:
            remark = error.problems[0]
        except InputError as error:
            row = (files.where, "-", "-", "-", "cannot be loaded")
            return row, [*unfit, *error.problems], checkpoint.doubts
    cells = (files.where, checkpoint.model_type, parameters, gib(files.to_download), remark)
    return cells, unfit, checkpoint.doubts


def _find_checkpoint(
    preflight: Preflight, name: str, files: ModelFiles | None
) -> Checkpoint | None:
    """Return the facts of a base model's files; the grid has read those on this machine."""
    resolved = next(c.resolved for c in preflight.grid.cells if c.model.name == name)
    if resolved.checkpoint:
        return resolved.checkpoint
    return read_checkpoint(files.folder) if files else None


def _find_unfit_settings(preflight: Preflight, name: str, checkpoint: Checkpoint) -> list[str]:
    """Settings that do not fit a base model; the grid could not check models of the hub."""
    problems: dict[str, None] = {}
    groups = [group for group in preflight.groups if group.first.base_model == name]
    for spec in (group.first for group in groups):
        problems |= dict.fromkeys(checkpoint.problems(spec))
        if spec.prompt and checkpoint.kind == "encoder":
            problems[describe_encoder(checkpoint.model_type)] = None
    if not problems and preflight.asks_hub:
        for group in groups:
            problems |= dict.fromkeys(_find_prompt_problems(preflight, group, checkpoint))
    return list(problems)


def _find_prompt_problems(
    preflight: Preflight, group: TrialGroup, checkpoint: Checkpoint
) -> list[str]:
    """List prompts that cannot be made or are too long, in any draw of training rows."""
    if not group.first.prompt:
        return []
    from xlt.trainables.baselines.prompt_tokens import describe_misfit

    problems = []
    for spec in {spec.draw_index: spec for spec in group.specs}.values():
        try:
            prompts = preflight.prompts(spec)
        except InputError as error:
            problems += error.problems
        else:
            problems.append(describe_misfit(prompts, checkpoint.max_positions) if prompts else "")
    return list(filter(None, problems))


def find_hub_problems(models: Iterable[BaseModel]) -> list[str]:
    """Errors of the hub about base models, for an experiment whose grid was refused.

    All models are checked, and the sentences are those with which the grid is refused.
    """
    problems = []
    for model in models:
        try:
            if model.miniature or not model.has_base_model:
                continue
            if not find_local_folder(model.path):
                list_hub_files(model.path, model.revision)
        except InputError as error:
            problems += [f"base model {model.name!r}: {problem}" for problem in error.problems]
    return problems
