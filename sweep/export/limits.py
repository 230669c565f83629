"""Sentences of a model card on what is not known about the model."""

from __future__ import annotations

from collections.abc import Iterator

from xlt.analysis.trials.trial_names import has_draws, name_runs
from xlt.analysis.uncertainty.intervals import describe_units
from xlt.data.core.text import first_line, percent
from xlt.sweep.export.subject import Subject
from xlt.trainables.inference.save import find_hub_base


def list_limits(subject: Subject) -> list[str]:
    """List the limits of an exported model, one sentence or two for each."""
    return [*_of_runs(subject), *_of_languages(subject), *_of_data(subject), *_of_weights(subject)]


def _of_runs(subject: Subject) -> Iterator[str]:
    rows = subject.collected.rows
    with_draw = has_draws([row.draw_index for row in rows])
    for state in ("failed", "missing", "corrupt"):
        if runs := [row.run for row in rows if row.state == state]:
            which = name_runs(runs, with_draw)
            yield f"{len(runs)} of {len(rows)} planned runs are {state} ({which}) and in no mean."
    untrained = [row.run for row in rows if row.training in ("stuck", "diverged")]
    if untrained:
        yield (
            f"{name_runs(untrained, with_draw).capitalize()} did not train; means count them, "
            "because they would be too high without."
        )
    done = [row.run for row in rows if row.is_done]
    if clauses := describe_units([done]):
        yield f"About the intervals{clauses.replace(';', ':', 1)}."
    for why in dict.fromkeys(line.without_interval for line in subject.scores):
        if why:
            yield f"No interval: {first_line(why)}."


def _of_languages(subject: Subject) -> Iterator[str]:
    trained, tested = subject.trained_langs, subject.tested_langs
    target = subject.trial.spec.pattern.target_lang
    sources = [lang for lang in trained if lang != target]
    if len(sources) == 1:
        yield f"Source rows are in one language, {sources[0]}; others may transfer less or more."
    if target not in trained:
        yield f"No training row is in {target}: what it does there was learnt in other languages."
    yield (
        f"Trained on {', '.join(trained)} and tested on {', '.join(tested)}; nothing is known "
        "about other languages."
    )


def _of_data(subject: Subject) -> Iterator[str]:
    plan, spec = subject.collected.plan, subject.trial.spec
    if len(subject.trial.classes) == 2:
        test = [count for (split, _), count in subject.counts.items() if split == "test"]
        share = sum(count[1] for count in test) / max(1, sum(count.total() for count in test))
        positive = first_line(subject.trial.classes[1])
        yield (
            f"{percent(share)} of the test rows are {positive}. Where such texts are rarer, "
            "precision and F1 are lower; AUROC is not affected."
        )
    cut = subject.record.get("execution", {}).get("truncated_texts", {})
    if any(cut.values()):
        yield (
            f"{cut['train']} training texts and {cut['test']} test texts have more than "
            f"{spec.training.max_length} tokens and were cut."
        )
    if plan.wrong_labels:
        yield f"{len(plan.wrong_labels)} test rows have a label that is known to be wrong."
    if plan.data_warnings:
        yield f"The audit of the data gave {len(plan.data_warnings)} warnings."
    if spec.pattern.translate == "test":
        yield "Test rows were read in translation: translate texts into the source language first."
    elif spec.pattern.translate:
        yield "Training rows were read in translation."
    if plan.title:
        yield f"The experiment: {first_line(plan.title)}."


def _of_weights(subject: Subject) -> Iterator[str]:
    spec, form = subject.trial.spec, subject.saved.form
    if form == "adapter" and (base := find_hub_base(subject.trial)):
        yield (
            f"The adapter was trained on {base} at revision {spec.revision}; transformers loads "
            "the newest one."
        )
    if form == "adapter and base":
        yield "The folder holds weights of the base model, whose licence applies to them."
    if spec.quantize_base:
        yield "The base model was in 4 bits (NF4); loading it needs the package bitsandbytes."
    if (precision := str(subject.trial.signature.get("precision"))) != "fp32":
        yield f"The trial computed in {precision}; other precisions change the scores a little."
