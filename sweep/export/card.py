"""Model card of an exported model, with its scores in the forms that the hub reads."""

from __future__ import annotations

from typing import Any

import yaml

from xlt.analysis.tables.cells import format_interval, format_mean
from xlt.analysis.tables.formats import to_markdown
from xlt.analysis.tables.table import Table
from xlt.analysis.trials.trial_names import describe_runs
from xlt.data.core.text import first_line, remove_secrets
from xlt.data.dataset.source_langs import join_source_langs
from xlt.sweep.export.limits import list_limits
from xlt.sweep.export.subject import ScoreLine, Subject
from xlt.trainables.inference.save import find_hub_base
from xlt.trainables.trial.model_files import CLASSIFIER_CONFIG

HUB_METRICS = {"auroc": "roc_auc", "auroc_ovr": "roc_auc", "macro_f1": "f1"}
"""Name of a metric -> its name on the hub, if that is another one."""
METHODS = {
    "lora": "LoRA",
    "full": "full fine-tuning",
    "bitfit": "BitFit (biases and head)",
    "head": "its head alone, with frozen other weights,",
}
"""Name of a method -> its name in the text of a card."""
USE = """```python
from transformers import pipeline

classify = pipeline("text-classification", "{place}")
classify(["..."], truncation=True, top_k=None)
```"""
USE_ADAPTER = """```python
{more}from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers import pipeline

config = AutoConfig.from_pretrained({config})
classify = pipeline(
    "text-classification",
    model=AutoModelForSequenceClassification.from_pretrained("{place}", config=config),
    tokenizer=AutoTokenizer.from_pretrained("{place}"),
)
classify(["..."], truncation=True, top_k=None)
```

`pipeline("text-classification", "{place}")` gives the same scores for two classes and one text at a
time, but takes the names of the classes and the padding from the base model."""

USE_PEFT = """```python
{more}from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers import pipeline

config = AutoConfig.from_pretrained({config})
base = AutoModelForSequenceClassification.from_pretrained({base}, config=config)
classify = pipeline(
    "text-classification",
    model=PeftModel.from_pretrained(base, "{place}"),
    tokenizer=AutoTokenizer.from_pretrained("{place}"),
)
classify(["..."], truncation=True, top_k=None)
```"""


def write_card(subject: Subject) -> str:
    """Write README.md: metadata of the hub, then the card."""
    from huggingface_hub import ModelCard

    sections = {
        "Scores": _write_scores(subject),
        "Data": _write_counts(subject),
        "Training": _write_settings(subject),
        "Limits": "\n".join(f"- {limit}" for limit in list_limits(subject)),
        "Origin": _describe_origin(subject),
    }
    # Code has `tokenizer=`, which looks like a secret; the other parts hold names that users gave.
    parts = [
        remove_secrets(_introduce(subject)),
        f"## Use\n\n{_describe_use(subject)}",
        *(f"## {heading}\n\n{remove_secrets(text)}" for heading, text in sections.items()),
    ]
    text = "\n\n".join(parts)
    return str(ModelCard(f"---\n{_make_data(subject).to_yaml()}\n---\n\n{text}\n"))


def write_eval_results(subject: Subject) -> str:
    """Write the scores as the hub's ``.eval_results/*.yaml``; empty if the data are not its own.

    Source: https://huggingface.co/docs/hub/eval-results; ``dataset.id`` is a data set of the hub.
    """
    if subject.hub_data is None:
        return ""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset, revision = subject.hub_data
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id="default",
            value=round(line.cell.mean, 6),
            dataset_revision=revision,
            notes=f"{_name(line)} in {line.lang}; test rows drawn by xlt-sweep, not a split of the "
            f"benchmark; data {subject.trial.spec.data_fingerprint[:12]}",
        )
        for line in subject.scores
        if line.cell.mean is not None
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)


def _make_data(subject: Subject) -> Any:
    """Metadata of the card, with its scores as ``model-index``."""
    from huggingface_hub import EvalResult, ModelCardData

    spec = subject.trial.spec
    fingerprint = spec.data_fingerprint[:12]
    dataset = subject.hub_data[0] if subject.hub_data else f"xlt-data-{fingerprint}"
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset,
            dataset_name=f"test rows in {line.lang}, data {fingerprint}",
            dataset_split="test",
            metric_type=HUB_METRICS.get(line.metric, line.metric),
            metric_name=_name(line),
            metric_value=round(line.cell.mean, 6),
        )
        for line in subject.scores
        if line.cell.mean is not None
    ]
    langs = dict.fromkeys(lang.partition("-")[0] for _, lang in subject.counts)
    return ModelCardData(
        base_model=find_hub_base(subject.trial) or None,
        datasets=[subject.hub_data[0]] if subject.hub_data else None,
        eval_results=results,
        language=list(langs),
        library_name="peft" if subject.saved.form == "adapter" else "transformers",
        model_name=_title(subject),
        pipeline_tag="text-classification",
        tags=["cross-lingual-transfer", "xlt-sweep"],
    )


def _name(line: ScoreLine) -> str:
    """Name of a metric with the number of runs of its mean."""
    runs = "1 run" if line.cell.n == 1 else f"mean of {line.cell.n} runs"
    std = "" if line.cell.std is None else f", std {line.cell.std:.3f}"
    return f"{line.label} ({runs}{std})"


def _title(subject: Subject) -> str:
    spec = subject.trial.spec
    return f"{first_line(spec.base_model)} on {first_line(subject.cell.pattern)}"


def _code(text: str) -> str:
    return f"`{first_line(text).replace('`', chr(39))}`"


def _introduce(subject: Subject) -> str:
    spec, classes = subject.trial.spec, subject.trial.classes
    method = METHODS.get(spec.method, _code(spec.peft.peft_type if spec.peft else spec.method))
    pattern = spec.pattern
    rows = [f"{pattern.source_rows} in {join_source_langs(spec.source_lang)}"] * bool(
        pattern.source_rows
    ) + [f"{pattern.target_rows} in {pattern.target_lang}"] * bool(pattern.target_rows)
    base = find_hub_base(subject.trial) or spec.base_model
    return (
        f"# {_title(subject)}\n\n"
        f"Classifies texts as {', '.join(map(_code, classes[:-1]))} or {_code(classes[-1])}. The "
        f"base model {_code(base)} was trained by {method} on labelled texts: "
        f"{' and '.join(rows)}.\n\n"
        f"This is {subject.run.name} of its cell; {subject.run.why}."
    )


def _describe_use(subject: Subject) -> str:
    form, spec = subject.saved.form, subject.trial.spec
    place = subject.repository or "FOLDER"
    more, config = "", f'"{place}/{CLASSIFIER_CONFIG}"'
    if subject.repository:
        more = "from huggingface_hub import hf_hub_download\n"
        config = f'hf_hub_download("{place}", "{CLASSIFIER_CONFIG}")'
    used = USE if form != "adapter" else USE_PEFT if spec.peft else USE_ADAPTER
    base = f'"{find_hub_base(subject.trial)}", revision="{spec.revision}"'
    use = used.format(place=place, more=more, config=config, base=base)
    labels = (
        f"`truncation=True` cuts a text to {spec.training.max_length} tokens, as in training. The "
        "label of a text is its most probable class."
    )
    if subject.threshold:
        positive = _code(subject.trial.classes[1])
        labels += (
            f" Here a text is {positive} if the score of {positive} is at least "
            f"**{subject.threshold.value:.6g}** (`threshold` in xlt_export.json)."
        )
        if subject.about_threshold:
            labels += f" This threshold was chosen for {subject.about_threshold}."
        if subject.threshold.value != 0.5:
            labels += (
                " `pipeline` itself takes the most probable class, which is a threshold of 0.5."
            )
    return f"{use}\n\n{labels}"


def _write_scores(subject: Subject) -> str:
    lines = []
    for line in subject.scores:
        cell = line.cell
        lines.append(
            (
                line.lang,
                line.label,
                "-" if cell.mean is None else format_mean(cell.mean, cell.std),
                format_interval(*cell.interval) if cell.interval else "-",
                f"{cell.n} of {cell.num_planned}",
                "-" if line.own is None else f"{line.own:.3f}",
            )
        )
    table = Table(
        name="scores",
        caption=(
            f"Scores on test rows: mean (std) and 95 % interval over "
            f"{describe_runs(subject.collected.plan)}, and the score of this model.",
        ),
        heading=("language", "metric", "mean (std)", "95 % interval", "runs", "this model"),
        lines=tuple(lines),
    )
    what = "merged classifier" if subject.saved.form == "merged" else "exported classifier"
    return (
        f"{to_markdown(table)}\n\n"
        f"The {what}, loaded by transformers, gives the scores of the trial up to "
        f"{subject.saved.difference:.2g} (largest difference on {subject.saved.compared})."
    )


def _write_counts(subject: Subject) -> str:
    classes = subject.trial.classes
    return to_markdown(
        Table(
            name="data",
            caption=("Numbers of texts by split, language and class.",),
            heading=("split", "language", *map(first_line, classes)),
            lines=tuple(
                (split, lang, *(str(count[number]) for number in range(len(classes))))
                for (split, lang), count in subject.counts.items()
            ),
        )
    )


def _write_settings(subject: Subject) -> str:
    spec = subject.trial.spec
    settings: dict[str, Any] = {"method": spec.method, "learning_rate": spec.learning_rate}
    settings |= spec.training.model_dump(mode="json")
    if spec.lora:
        settings |= {f"lora.{k}": v for k, v in spec.lora.model_dump(mode="json").items()}
    if spec.peft:
        settings |= {f"peft.{k}": v for k, v in spec.peft.model_dump(mode="json").items()}
    settings |= {"seed": spec.seed, "draw_index": spec.draw_index}
    table = Table(
        name="training",
        caption=("Settings of the training.",),
        heading=("setting", "value"),
        lines=tuple((name, str(value)) for name, value in settings.items()),
    )
    chosen = first_line(subject.cell.chosen) or (
        "The learning rate was given; no dev rows, in any language, chose it"
    )
    return f"{to_markdown(table)}\n\n{chosen[0].upper()}{chosen[1:]}."


def _describe_origin(subject: Subject) -> str:
    trial = subject.trial
    signature = dict(trial.signature)
    versions = signature.pop("versions", {})
    lines = {
        "experiment": subject.collected.plan.experiment,
        "trial": trial.trial_id,
        "base model": trial.spec.base_identity,
        **{key: value for key, value in signature.items() if value is not None},
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    table = Table(
        name="origin",
        caption=("Signature: everything that the scores depend on beside the settings.",),
        heading=("what", "value"),
        lines=tuple((name, str(value)) for name, value in lines.items()),
    )
    return f"Made by xlt-sweep:\n\n```\n{subject.command}\n```\n\n{to_markdown(table)}"
