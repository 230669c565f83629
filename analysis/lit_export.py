"""Export of trials for LIT, the Learning Interpretability Tool, which shows them side by side.

LIT runs in a separate environment without our packages. So an export is JSON: a manifest and, for
each data set and each trial, a file with one JSON object in each line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlt.analysis.trials.collect import Collected
from xlt.analysis.trials.scored_rows import TestRows
from xlt.analysis.trials.trial_names import has_draws, run_name
from xlt.analysis.trials.trial_row import TrialRow
from xlt.data.core.errors import InputError
from xlt.data.core.files import read_json_file, to_json
from xlt.data.core.text import first_line
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.plan import Plan
from xlt.trainables.results.result import Results
from xlt.trainables.results.texts import read_texts
from xlt.trainables.spec.explain import Explain

EXPORT_FORMAT = 1
"""Version of manifest and files; the viewer refuses other versions."""

MANIFEST = "lit.json"
"""Name of the manifest, which is written after all other files of an export."""

MOST_TRIALS = 12
"""Maximal number of trials in an export. LIT shows columns and panels for each of them, so more
cannot be compared by eye."""

LATER = ("explained", "segments")
"""Columns of attributions with more than two classes, and of pairs."""
Row = dict[str, Any]


@dataclass(frozen=True)
class LitExport:
    """Content of an export.

    Attributes:
        manifest: ``classes``, ``datasets`` (name, file, language), ``models`` (name, file, data set
            and, if the trial is or can be explained, method and settings) and ``notes``.
        files: Rows of each file, by name. Rows of a data set have ``id``, ``text``, for pairs
            ``text_pair``, ``language`` and ``label``. Rows of a trial have ``id``,
            ``probabilities`` of all classes, ``tokens`` and their ``salience`` (raw contributions
            to the probability of class 1), which are empty for rows that were not explained; with
            more than two classes also ``explained``, the number of the class that the
            contributions are for, and for pairs ``segments``, 0 for tokens of the first text and 1
            for those of the second.
    """

    manifest: Mapping[str, Any]
    files: Mapping[str, Sequence[Row]]


def lit_export(
    collected: Collected,
    *,
    seeds: Collection[int] = (),
    method: str = "lime",
    otherwise: Explain | None = None,
) -> LitExport:
    """Build an export of done trials; each is a model in LIT.

    Texts are read from the files beside the plan or, if there are none, from the attributions. Rows
    without a text are left out.

    Args:
        collected: The experiment.
        seeds: Seeds to export; empty exports all.
        method: Method of the explanations, a name in ``EXPLAINERS``.
        otherwise: Settings for explaining other trials when LIT requests it; None disables this.

    Raises:
        InputError: No selected trial is done, or more than :data:`MOST_TRIALS` are; predictions
            cannot be used; trials of one language were tested on different rows; or there are no
            texts.
    """
    plan, location = collected.plan, Results(collected.uri)
    notes: list[str] = []
    chosen = _chosen(collected, seeds, notes)
    langs = {cell.key: collected.test_lang or cell.target_lang for cell in plan.cells}
    kept_texts = read_texts(location, plan.experiment)
    texts = {name: (row["text"], row["text_pair"]) for name, row in kept_texts.items()}
    usable: list[tuple[TrialRow, TestRows]] = []
    explained: dict[str, dict[str, Row]] = {}
    settings: dict[str, Mapping[str, Any]] = {}
    for trial in chosen:
        name = _name(trial, plan)
        try:
            usable.append((trial, collected.predictions.of(trial.trial_id)))
        except InputError as error:
            notes.append(f"{name} is left out: {first_line(str(error))}")
            continue
        try:
            attributions = read_attributions(location, trial.trial_id, method)
        except InputError as error:
            if otherwise:
                settings[trial.trial_id] = otherwise.resolved()
            else:
                notes.append(f"{name} has only predictions: {first_line(str(error))}")
            continue
        table = attributions.table
        columns = ["id", "text", "pieces", "starts", "coefficients"]
        columns += [name for name in LATER if table and name in table.schema.names]
        rows = table.select(columns).to_pylist() if table is not None else []
        explained[trial.trial_id] = {row["id"]: row for row in rows}
        settings[trial.trial_id] = attributions.settings
        for row in rows:
            texts.setdefault(row["id"], _split(row))
    if not usable:
        raise InputError(notes, f"experiment {plan.experiment}: nothing to show")

    classes = plan.class_names
    datasets: dict[str, Row] = {}
    models: list[Row] = []
    files: dict[str, list[Row]] = {}
    tested: dict[str, tuple[str, ...]] = {}
    for trial, test_rows in usable:
        lang = langs[trial.cell] or "unknown"
        dataset = f"test rows ({lang})"
        if dataset not in datasets:
            file = f"headlines-{lang}.jsonl"
            datasets[dataset] = {"name": dataset, "file": file, "language": lang}
            files[file] = _headlines(test_rows, texts, lang, classes, collected.uri, notes)
            tested[dataset] = test_rows.ids
        elif tested[dataset] != test_rows.ids:
            raise InputError(
                f"{_name(trial, plan)} was tested on other rows than the trials before it. LIT "
                "shows models on the same rows, so export them separately with --only and --seeds"
            )
        tokens = explained.get(trial.trial_id, {})
        model: Row = {"name": _name(trial, plan), "file": f"{trial.trial_id}.jsonl"}
        model |= {"dataset": dataset, "trial_id": trial.trial_id}
        if tokens or otherwise:
            model |= {"method": method, "settings": dict(settings[trial.trial_id])}
        models.append(model)
        shown = {row["id"] for row in files[datasets[dataset]["file"]]}
        files[model["file"]] = list(_predicted(test_rows, shown, tokens))
    manifest = {
        "format": EXPORT_FORMAT,
        "experiment": plan.experiment,
        "title": plan.title,
        "classes": list(classes),
        "datasets": list(datasets.values()),
        "models": models,
        "notes": notes,
    }
    return LitExport(manifest, files)


def write_export(export: LitExport, folder: Path) -> None:
    """Write an export into a folder and replace an earlier export there.

    Raises:
        InputError: The folder holds other files, or cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            earlier = read_manifest(folder)
            (folder / MANIFEST).unlink()  # first, so that an incomplete export is recognised
            for part in (*earlier["datasets"], *earlier["models"]):
                (folder / Path(part["file"]).name).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in export.files.items():
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / name).write_text("".join(lines), "utf-8")
        (folder / MANIFEST).write_bytes(to_json(dict(export.manifest)))
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}; give another --out") from error


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, not a results location."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an export.

    Raises:
        InputError: The folder holds no manifest, or it is damaged or has another version.
    """
    if not is_export(folder):
        raise InputError(f"{folder} holds no {MANIFEST}; give an empty folder or an earlier export")
    try:
        manifest: dict[str, Any] = read_json_file(folder / MANIFEST)
        same_version = manifest["format"] == EXPORT_FORMAT
        files = [part["file"] for kind in ("datasets", "models") for part in manifest[kind]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged; export into a new folder") from error
    if not same_version or not all(isinstance(name, str) for name in files):
        raise InputError(f"{folder / MANIFEST} has another version; export into a new folder")
    return manifest


def _chosen(collected: Collected, seeds: Collection[int], notes: list[str]) -> list[TrialRow]:
    """The done trials with these seeds; notes are added about the others."""
    plan = collected.plan
    if missing := sorted(set(seeds) - set(plan.seeds)):
        known = ", ".join(map(str, plan.seeds))
        raise InputError(f"no seed {', '.join(map(str, missing))}. Known: {known}.", "--seeds")
    selected = [row for row in collected.rows if not seeds or row.seed in seeds]
    done = [row for row in selected if row.is_done]
    where = f"experiment {plan.experiment} in {collected.uri}"
    if not done:
        raise InputError(
            f"none of {len(selected)} trials is done; `xlt run` them first, or choose others", where
        )
    if len(done) > MOST_TRIALS:
        raise InputError(
            f"{len(done)} done trials; LIT shows at most {MOST_TRIALS} side by side, so choose "
            f"some, e.g. --only model={done[0].cell.base_model} or --seeds {done[0].seed}",
            where,
        )
    notes += [f"{_name(row, plan)} is {row.state}" for row in selected if not row.is_done]
    translated = {cell.key for cell in plan.cells if cell.translate == "test"}
    notes += [
        f"{_name(row, plan)} is left out: it reads translations of the test rows, which LIT does "
        "not show"
        for row in done
        if row.cell in translated
    ]
    return [row for row in done if row.cell not in translated]


def _name(trial: TrialRow, plan: Plan) -> str:
    """Name of a trial in LIT, which writes names into addresses with commas and colons."""
    name = " ".join([*trial.cell, run_name(trial.run, has_draws(plan.draws))])
    return name.replace(",", ";").replace(":", ";")


def _split(row: Row) -> tuple[str, str | None]:
    """Split a text of attributions, where a pair has one text after the other, a line each."""
    second = [s for s, n in zip(row["starts"], row.get("segments", ()), strict=False) if n == 1]
    if not second:
        return row["text"], None
    end = row["text"].rindex("\n", 0, second[0] + 1)
    return row["text"][:end], row["text"][end + 1 :]


def _headlines(
    test_rows: TestRows,
    texts: Mapping[str, tuple[str, str | None]],
    lang: str,
    classes: Sequence[str],
    uri: str,
    notes: list[str],
) -> list[Row]:
    """The test rows that have a text, as rows of a data set."""
    rows = [
        {"id": name, **_fields(*texts[name]), "language": lang, "label": classes[label]}
        for name, label in zip(test_rows.ids, test_rows.y_true.tolist(), strict=True)
        if name in texts
    ]
    if not rows:
        raise InputError(
            "no texts of the test rows, neither beside the plan (storage.keep_texts) nor in "
            "attributions; `xlt explain` writes attributions with texts from the experiment's data",
            uri,
        )
    if without := len(test_rows.ids) - len(rows):
        notes.append(
            f"{without} of {len(test_rows.ids)} test rows ({lang}) have no text and are left out"
        )
    return rows


def _fields(text: str, pair: str | None) -> Row:
    return {"text": text} if pair is None else {"text": text, "text_pair": pair}


def _predicted(
    test_rows: TestRows, shown: Collection[str], explained: Mapping[str, Row]
) -> Iterable[Row]:
    """Predictions and explanations of a trial for the rows that are shown."""
    for name, score in zip(test_rows.ids, test_rows.y_score.tolist(), strict=True):
        if name in shown:
            row = explained.get(name, {"pieces": [], "coefficients": []})
            yield {
                "id": name,
                "probabilities": score if isinstance(score, list) else [1 - score, score],
                "tokens": row["pieces"],
                "salience": row["coefficients"],
                **{name: row[name] for name in LATER if name in row},
            }
