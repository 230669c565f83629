"""The summary of a data set: counts, lengths, samples, and the patterns that it suffices for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xlt.data.core.seeds import rank_by
from xlt.data.dataset.class_counts import count_test_rows
from xlt.data.dataset.patterns import Sampling
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import count_origins
from xlt.data.sources.prepared_store import Manifest, class_counts
from xlt.data.tables.aligned_text import align

QUANTILES = (0.0, 0.5, 0.95, 1.0)
"""Quantiles of text lengths: shortest, median, 95 %, longest."""
NUM_SAMPLES = 2
"""Sample rows for each language and class."""
MAX_TEXT = 100
"""Most characters of a sample text."""

Lengths = Callable[[Sequence[str]], list[int]]
"""Function from texts to their lengths."""


def describe_dataset(
    dataset: Dataset,
    sampling: Sampling | None = None,
    manifest: Manifest | None = None,
    lengths: Mapping[str, Lengths] | None = None,
) -> str:
    """Format counts, lengths, months, samples and the largest patterns as text.

    Args:
        dataset: The data set.
        sampling: Test rows and windows that the patterns assume.
        manifest: The manifest of a prepared data set.
        lengths: Unit -> function that measures texts in it, besides characters.
    """
    sampling = sampling or Sampling()
    units: dict[str, Lengths] = {"characters": lambda texts: [len(text) for text in texts]}
    units.update(lengths or {})
    parts = [f"{len(dataset.table):,} rows, fingerprint {dataset.fingerprint[:12]}"]
    if manifest:
        parts.append(describe_manifest(manifest))
    parts += ["\n".join(lines)] if (lines := _translation_lines(dataset)) else []
    parts += [
        _table("rows", ["language", *dataset.classes], _class_rows(dataset)),
        _table("rows by month", ["month", *_combinations(dataset)], _month_rows(dataset)),
        *(_lengths(dataset, unit, measure) for unit, measure in units.items()),
        "\n".join(["enough for", *(f"  {line}" for line in capacities(dataset, sampling))]),
        "\n".join(["samples", *(f"  {line}" for line in _samples(dataset))]),
    ]
    return "\n\n".join(parts)


def describe_manifest(manifest: Manifest) -> str:
    """Format the counts of a prepared data set: read = kept + dropped + rejected."""
    lines = [
        f"read {manifest.num_read:,} = kept {manifest.num_kept:,} + dropped "
        f"{sum(manifest.dropped.values()):,} + rejected {manifest.num_rejected:,}"
    ]
    lines += [f"  dropped {count:,}: {rule}" for rule, count in manifest.dropped.items()]
    return "\n".join(lines)


def capacities(dataset: Dataset, sampling: Sampling) -> list[str]:
    """Write a sentence for each language: its number of balanced rows for training and test.

    Equal texts count once, as in a draw, and only rows in the windows of ``sampling`` count. With
    K classes, a pattern can have at most K times the rows of the rarest class, without its test
    rows.

    Args:
        dataset: The rows.
        sampling: Test rows and windows.
    """
    num_classes = len(dataset.classes)
    # The two windows never overlap, so test rows are not taken from the training rows.
    apart = sampling.train_window is not None and sampling.test_window is not None
    sentences = []
    for lang in dataset.by_lang:
        train, test = (
            Counter({row.key: row.label for row in dataset.in_window(lang, window)}.values())
            for window in (sampling.train_window, sampling.test_window)
        )
        labels = range(num_classes)
        num_test = count_test_rows(
            sampling, dataset.in_window(lang, sampling.test_window), dataset.classes
        )
        as_source = min(train[label] for label in labels)
        as_target = as_source if apart else min(train[n] - num_test[n] for n in labels)
        counts = ", ".join(f"{name} {train[n]:,}" for n, name in enumerate(dataset.classes))
        rows_of_source = f"{as_source * num_classes:,} balanced source rows"
        if as_target < 0 or any(test[label] < num_test[label] for label in labels):
            rows_of_target = f"too few for a test of {sampling.test_rows}"
        else:
            rows_of_target = (
                f"or {lang}{as_target * num_classes} with {sampling.test_rows} test rows"
            )
        sentences.append(f"{lang}: {counts} different texts: {rows_of_source}, {rows_of_target}")
    return sentences


def _translation_lines(dataset: Dataset) -> list[str]:
    """Count the translations of each direction and origin."""
    return [
        f"{number:,} translations {direction} by {origin}"
        for direction, by_id in dataset.translations.by_direction.items()
        for origin, number in count_origins(by_id).items()
    ]


def _class_rows(dataset: Dataset) -> list[list[str]]:
    counts = class_counts(dataset)
    return [[lang, *(f"{count:,}" for count in of.values())] for lang, of in counts.items()]


def _combinations(dataset: Dataset) -> list[str]:
    return [f"{lang} {name}" for lang in dataset.by_lang for name in dataset.classes]


def _month_rows(dataset: Dataset) -> list[list[str]]:
    months: Counter[tuple[str, str, int]] = Counter()
    for lang, rows in dataset.by_lang.items():
        for row in rows:
            month = f"{row.published:%Y-%m}" if row.published else "undated"
            months[month, lang, row.label] += 1
    return [
        [month, *(
            f"{months[month, lang, label]:,}"
            for lang in dataset.by_lang
            for label in range(len(dataset.classes))
        )]
        for month in sorted({month for month, _, _ in months})
    ]  # fmt: skip


def _lengths(dataset: Dataset, unit: str, measure: Lengths) -> str:
    langs = dataset.table["lang"].to_numpy(zero_copy_only=False)
    lengths = np.array(measure(dataset.table["text"].to_pylist()))
    rows = [
        [lang, *(f"{value:,.0f}" for value in np.quantile(lengths[langs == lang], QUANTILES))]
        for lang in dataset.by_lang
    ]
    return _table(f"{unit} a text", ["language", "least", "median", "95 %", "most"], rows)


def _samples(dataset: Dataset) -> list[str]:
    """Pick the first rows by rank of each language and class, which are always the same."""
    lines = []
    for lang, rows in dataset.by_lang.items():
        for label, name in enumerate(dataset.classes):
            ids = [row.id for row in rows if row.label == label]
            ids = sorted(ids, key=rank_by(0, "sample"))[:NUM_SAMPLES]
            for text, pair in zip(
                *(dataset.rows(ids)[c].to_pylist() for c in ("text", "text_pair")), strict=True
            ):
                sample = text if pair is None else f"{text} | {pair}"
                lines.append(f"{lang} {name}: {sample[:MAX_TEXT]}")
    return lines


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table, aligned by display width, with numbers to the right."""
    lines = align([header, *rows], numbers=range(1, len(header)))
    return "\n".join([title, *(f"  {line}" for line in lines)])
