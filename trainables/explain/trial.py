"""Explain the test rows of a trained trial, right after scoring or later with its kept model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from xlt.data.core.errors import InputError, unknown
from xlt.trainables.explain.classes import choose_labels, predict_texts
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_targets, measure_explanations
from xlt.trainables.explain.target import ClassTargets, Target
from xlt.trainables.explain.tokens import (
    find_replacement_id,
    find_special_ids,
    locate_tokens,
    make_readable,
)
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.attributions import COLUMNS, LATER_COLUMNS, Attributions
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec


def explain_trial(
    model: Any,
    base: Base,
    spec: TrialSpec,
    test: pa.Table,
    classes: Sequence[str],
    settings: Explain,
) -> Attributions:
    """Explain the test rows of a trained classifier.

    Args:
        model: Trained classifier.
        base: Base model with the tokenizer.
        spec: Trial of the classifier.
        test: num_test_rows x at least (id, text, text_pair, lang, label), in the order of their
            draw.
        classes: Names of the classes.
        settings: Settings of the method, and the number of rows.

    Returns:
        The attributions. Their ``error`` holds the message of bad input, because the trial itself
        is valid.
    """
    start = time.perf_counter()
    resolved = settings.resolved()
    try:
        settings.check_class(classes)
        rows = _choose_rows(test, spec, settings)
        replacement = find_replacement_id(base.tokenizer, resolved["replacement"])
        ids = encode(base, rows, spec.training.max_length)
        target = make_target(model, spec)
        table = explain_rows(target, base, spec, rows, ids, classes, settings, replacement)
    except (InputError, RuntimeError) as error:  # RuntimeError: from torch, e.g. out of memory
        return Attributions(resolved, error=str(error))
    token = base.tokenizer.convert_ids_to_tokens(replacement) if replacement is not None else None
    details = {
        "hidden_as": token,
        "device": str(model.device.type),
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - start, 4),
    }
    return Attributions(resolved, table, details)


def _choose_rows(test: pa.Table, spec: TrialSpec, settings: Explain) -> pa.Table:
    """Choose the first test rows of each language that is explained.

    Raises:
        InputError: The trial was not tested in a language.
    """
    langs = settings.langs or (spec.pattern.target_lang,)
    if unknowns := [lang for lang in langs if lang not in spec.test_langs]:
        raise InputError(f"langs: {unknown('test language', unknowns[0], spec.test_langs)}")
    if len(spec.test_langs) == 1:  # rows may be read in translation, under another language
        return test.slice(0, settings.rows)
    own = [test.filter(pc.equal(test["lang"], lang)).slice(0, settings.rows) for lang in langs]
    return pa.concat_tables(own)


def explain_rows(
    target: Target | ClassTargets,
    base: Base,
    spec: TrialSpec,
    rows: pa.Table,
    ids: Sequence[Sequence[int]],
    classes: Sequence[str],
    settings: Explain,
    replacement: int | None,
) -> pa.Table:
    """Make one row of attributions per test row.

    Args:
        target: Trained classifier.
        base: Base model with the tokenizer.
        spec: Trial of the classifier.
        rows: num_rows x at least (id, text, text_pair, lang, label).
        ids: Token ids of each row.
        classes: Names of the classes.
        settings: Settings of the method.
        replacement: Token id that replaces a hidden token; None deletes the token.

    Returns:
        num_rows x the columns of ``COLUMNS``, and those of ``LATER_COLUMNS`` that the trial has.

    Raises:
        InputError: The same errors as :func:`explain_targets`, or there is no such class.
    """
    max_length = spec.training.max_length
    texts = rows["text"].to_pylist()
    pairs = rows["text_pair"].to_pylist() if rows["text_pair"].null_count == 0 else None
    whole, places = locate_tokens(base.tokenizer, texts, pairs, max_length)
    special = find_special_ids(base.tokenizer)
    names = rows["id"].to_pylist()
    explained = [[n for n, i in enumerate(text) if i not in special] for text in ids]
    extra: dict[str, list[Any]] = {}
    if pairs is not None:
        extra["segments"] = [
            [int(places[number][n][0] > len(texts[number])) for n in tokens]
            for number, tokens in enumerate(explained)
        ]
    if isinstance(target, ClassTargets):
        probabilities = predict_texts(target.predict, ids)
        labels = choose_labels(settings, classes, probabilities, rows["label"].to_pylist())
        extra |= {"explained": labels.tolist(), "predicted": probabilities.argmax(axis=1).tolist()}
        of_class = {label: target.of_class(label) for label in set(extra["explained"])}
        targets = [of_class[label] for label in extra["explained"]]
    else:
        targets = [target] * len(ids)
    hiding: dict[str, Any] = {"hidden_as": replacement, "never_hidden": special, "names": names}
    explanations = explain_targets(targets, ids, settings=settings, **hiding)
    faithfulness = measure_explanations(targets, ids, explanations, **hiding)
    records = []
    for number, (explanation, measured) in enumerate(zip(explanations, faithfulness, strict=True)):
        tokens = explained[number]
        token_ids = [ids[number][n] for n in tokens]
        records.append(
            {
                "id": names[number],
                "lang": rows["lang"][number].as_py(),
                "y_true": rows["label"][number].as_py(),
                "text": whole[number],
                "token_ids": token_ids,
                "pieces": make_readable(base.tokenizer, token_ids),
                "starts": [places[number][n][0] for n in tokens],
                "ends": [places[number][n][1] for n in tokens],
                "coefficients": explanation.coefficients,
                "standard_errors": explanation.standard_errors,
                "intercept": explanation.intercept,
                "r2": None if np.isnan(explanation.r2) else explanation.r2,
                "p_original": explanation.p_original,
                "p_masked": explanation.p_masked,
                "total": float(np.abs(explanation.coefficients).sum()),
                **vars(measured),
                **{name: values[number] for name, values in extra.items()},
            }
        )
    later = [field for field in LATER_COLUMNS if field.name in extra]
    return pa.Table.from_pylist(records, schema=pa.schema([*COLUMNS, *later]))
