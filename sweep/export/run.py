"""Export a kept model: a folder that plain transformers loads, with a card and a threshold."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from xlt.analysis.trials.collect import Collected, collect
from xlt.data.core.errors import InputError
from xlt.data.core.files import to_json
from xlt.data.core.settings import Settings
from xlt.data.dataset.languages import Language
from xlt.sweep.experiment.hub_data import find_hub_data
from xlt.sweep.export.card import write_card, write_eval_results
from xlt.sweep.export.choose import choose_run
from xlt.sweep.export.push import prepare_repository, upload
from xlt.sweep.export.subject import Subject
from xlt.sweep.predict.threshold import Threshold, decide_threshold
from xlt.trainables.inference.save import find_form, save_classifier
from xlt.trainables.results.find_trial import FinishedTrial, find_trial
from xlt.trainables.results.layout import trial_folder
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import read_texts

EXPORT_FORMAT = 1
"""Version of xlt_export.json."""
ABOUT = "xlt_export.json"
EVAL_RESULTS = ".eval_results/xlt.yaml"


class Export(Settings):
    """Settings of an export."""

    model: str
    """Name of the base model."""
    pattern: str
    """Name of the pattern."""
    seed: int | None = None
    """Seed of the trial; None: see :func:`choose_run`."""
    merge: bool = False
    """Whether to add the adapter to the weights of the base model."""
    with_base: bool = False
    """Whether to save the weights of a hub's base model beside the adapter."""
    threshold: str | None = None
    """Threshold for two classes, see :func:`decide_threshold`; None: 0.5."""
    prevalence: float | None = pydantic.Field(default=None, gt=0, lt=1, strict=True)
    """Share of class 1 among the texts, for a rule; None: that of the trial's task."""
    test_lang: Language | None = None
    """Language of the test rows on which a rule chooses; None: the trial's target language."""
    push: str = ""
    """Repository on the hub, ORG/NAME; empty: no upload."""
    public: bool = False
    """Whether everybody may read the repository."""


@dataclass(frozen=True)
class Exported:
    """Outcome of an export.

    Attributes:
        subject: The exported model, and everything on its card.
        uploaded: Address of the commit on the hub; empty: no upload.
    """

    subject: Subject
    uploaded: str = ""


def export(
    results: str,
    out: str,
    settings: Export,
    *,
    experiment: str | None = None,
    base_path: str | None = None,
) -> Exported:
    """Export the model of a trial.

    Args:
        results: Results location.
        out: Folder to write, which must be empty or missing.
        settings: Which trial, and in which form.
        experiment: Name of the experiment; None: the only one in the location.
        base_path: Present folder of the base model, if it was moved.

    Raises:
        InputError: There is no such trial or it kept no model, ``out`` holds files, the saved model
            scores unlike the trial, or the hub refuses the upload.
    """
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError("holds files; give a new or empty folder as --out", out)
    if settings.public and not settings.push:
        raise InputError("is for --push ORG/NAME", "--public")
    collected = _collect_cell(results, experiment, settings)
    run = choose_run(collected, settings.seed)
    trial = find_trial(f"{collected.uri}/{trial_folder(run.row.trial_id)}", base_path=base_path)
    find_form(trial, settings.merge, settings.with_base)  # before anything is created or loaded
    threshold, about = _decide_threshold(trial, settings)
    if settings.push:
        prepare_repository(settings.push, settings.public)
    location = Results(collected.uri)
    kept = read_texts(location, collected.plan.experiment)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        saved = save_classifier(
            trial,
            partial,
            merge=settings.merge,
            with_base=settings.with_base,
            repository=settings.push,
            texts={name: (row["text"], row["text_pair"]) for name, row in kept.items()},
        )
        subject = Subject(
            collected, trial, run, saved, threshold, about, _write_command(settings, experiment),
            settings.push, find_hub_data(location, collected.plan.experiment),
        )  # fmt: skip
        _write_texts(subject, partial)
        partial.chmod(0o755)  # temporary folders are private
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    uploaded = upload(folder, settings.push) if settings.push else ""
    return Exported(subject, uploaded)


def _collect_cell(results: str, experiment: str | None, settings: Export) -> Collected:
    """Collect the trials of the cell alone."""
    only = f"model={settings.model},pattern={settings.pattern}"
    if "," in settings.model + settings.pattern:
        raise InputError("names with a comma cannot be selected", only)
    return collect(results, experiment, only=only)


def _decide_threshold(trial: FinishedTrial, settings: Export) -> tuple[Threshold | None, str]:
    threshold, about = decide_threshold(
        trial, settings.threshold, settings.prevalence, settings.test_lang
    )
    if threshold.value is None:
        raise InputError(
            f"threshold {settings.threshold!r} is computed from the texts that are tagged, so a "
            "folder cannot hold it; give a number or a rule such as precision=0.5"
        )
    return (threshold, about) if len(trial.classes) == 2 else (None, "")


def _write_texts(subject: Subject, folder: Path) -> None:
    """Write the card and the two files for programs."""
    (folder / "README.md").write_text(write_card(subject), "utf-8")
    (folder / ABOUT).write_bytes(to_json(_describe(subject)))
    if entries := write_eval_results(subject):
        (folder / EVAL_RESULTS).parent.mkdir()
        (folder / EVAL_RESULTS).write_text(entries, "utf-8")


def _describe(subject: Subject) -> dict[str, Any]:
    trial, saved = subject.trial, subject.saved
    return {
        "format": EXPORT_FORMAT,
        "trial_id": trial.trial_id,
        "experiment": subject.collected.plan.experiment,
        "base_model": trial.spec.base_model,
        "pattern": subject.cell.pattern,
        "run": subject.run.name,
        "why": subject.run.why,
        "classes": list(trial.classes),
        "threshold": subject.threshold and subject.threshold.value,
        "about_threshold": subject.about_threshold,
        "max_length": trial.spec.training.max_length,
        "form": saved.form,
        "largest_difference": saved.difference,
        "compared": saved.compared,
        "data_fingerprint": trial.spec.data_fingerprint,
        "signature": dict(trial.signature),
        "scores": [
            {
                "lang": line.lang, "metric": line.metric, "mean": line.cell.mean,
                "std": line.cell.std, "interval": line.cell.interval, "n": line.cell.n,
                "num_planned": line.cell.num_planned, "own": line.own,
            }
            for line in subject.scores
        ],
    }  # fmt: skip


def _write_command(settings: Export, experiment: str | None) -> str:
    """Write the command without the places of results and folder."""
    words = ["xlt", "export", "RESULTS"] + (["--experiment", experiment] if experiment else [])
    for name, value in settings.model_dump(mode="json").items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value not in (None, "", False):
            words += [option, str(value)]
    return shlex.join([*words, "--out", "FOLDER"])
