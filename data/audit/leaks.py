"""Label leaks: texts that contain their own label, so that every score would be meaningless."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain, compress

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from xlt.data.audit.sample_rows import sample_rows
from xlt.data.dataset.schema import Dataset, text_key

LEAK_SHARE = 0.95
"""Balanced accuracy from which a single trait of the texts is a leak.

A leaked label reaches 1. The best trait below reaches 0.81 on the built-in headlines, and 0.86
(obituaries) on 20 tasks "one topic or the rest" of Wikinews sentences."""
MIN_ROWS = 50
"""Fewest different texts of each class in a language that is judged; fewer look alike by chance."""
MAX_TEXTS = 50_000
"""Most texts of a language that are compared, a sample of all."""
NUM_CHARACTERS = (1, 2, 3, 4)
"""Lengths of beginnings and ends that are compared, for languages without spaces."""

_OPEN, _CLOSE = r"\[\(\{<（［｛〈《「『【〔〖", r"\]\)\}>）］｝〉》」』】〕〗"
_TAG = re.compile(rf"^\s*[{_OPEN}]([^{_CLOSE}]*)[{_CLOSE}]|[{_OPEN}]([^{_CLOSE}]*)[{_CLOSE}]\s*$")
_HEAD = re.compile(r"^([^:：|｜/／]*)[:：|｜/／]")
_TAIL = re.compile(r"[:：|｜/／#＃]([^:：|｜/／#＃]*)$")

Trait = Callable[[str], Hashable]


def find_leaks(dataset: Dataset, label_values: Iterable[str] = ()) -> list[str]:
    """Look for a single trait of the texts that nearly determines the class.

    The traits are the first and last word; the first and last characters; a tag in brackets; the
    part before the first or after the last colon, bar or hash; the ``label_values`` that the text
    contains; and each word or character. A trait is judged in each language by its balanced
    accuracy, see :data:`LEAK_SHARE`. Nothing is random.

    Args:
        dataset: The labelled rows.
        label_values: The labels in the spelling of the file, before they became 0 and 1.

    Returns:
        A sentence for each language that has such a trait.
    """
    spelled = sorted({text_key(value) for value in label_values} - {""})
    problems = []
    for lang in dataset.by_lang:
        rows = sample_rows(dataset, lang, MAX_TEXTS)
        # The key of a pair is that of its first text, then that of the second one.
        keys = [row.key.partition("\n")[0] for row in rows]
        # Equal texts count once, because repeated headlines would confirm each other.
        different = {(key, row.label): row.id for key, row in zip(keys, rows, strict=True)}
        labels = np.array([label for _, label in different])
        if min(labels.sum(), len(labels) - labels.sum()) < MIN_ROWS:
            continue
        texts = dataset.rows([*different.values()])["text"].to_pylist()
        more: dict[str, list[Hashable]] = {}
        if spelled:
            more["contains of the label values"] = [
                tuple(value for value in spelled if value in key) for key, _ in different
            ]
        share, what = best_trait(texts, labels, more)
        if share >= LEAK_SHARE:
            problems.append(
                f"the {lang} texts contain their label: {what} alone predicts it with a balanced "
                f"accuracy of {share:.1%} ({LEAK_SHARE:.0%} or more is refused); remove the label "
                "from the texts"
            )
    return problems


def best_trait(
    texts: Sequence[str], labels: ArrayLike, more: Mapping[str, Sequence[Hashable]] | None = None
) -> tuple[float, str]:
    """Find the trait that separates the classes best.

    Args:
        texts: Texts of one language.
        labels: 0 or 1 for each text; both occur.
        more: Name -> num_texts values of a trait besides those in :data:`TRAITS`.

    Returns:
        Balanced accuracy (0.5 to 1), and the trait in words, with the value that is most typical
        of class 1.
    """
    judged = []
    labels = np.asarray(labels)
    values_of = {name: map(trait, texts) for name, trait in TRAITS.items()} | dict(more or {})
    for name, values in values_of.items():
        share, value = _share([*values], labels)
        example = "" if value == () else f" (for example {_spell(value)})"
        judged.append((share, f"what it {name}{example}"))
    for kind, units in (("word", str.split), ("character", iter)):
        share, unit = _best_unit(texts, labels, units)
        judged.append((share, f"whether it contains the {kind} {unit!r}"))
    return max(judged, key=lambda pair: pair[0])


def _share(values: Sequence[Hashable], labels: NDArray[np.int64]) -> tuple[float, Hashable]:
    """Compute the balanced accuracy of a trait, and its value that is most typical of class 1.

    A row gets the label of the *other* rows with its value, because unique values would otherwise
    look like perfect predictors. All values that no other row has stand for the same class.

    Args:
        values: num_rows values of the trait.
        labels: num_rows labels, 0 or 1; both occur.
    """
    codes, different = _encode(values)
    counts = np.stack([np.bincount(codes[labels == y], minlength=len(different)) for y in (0, 1)])
    total = counts.sum(axis=1, keepdims=True)
    own, other = (counts - 1) / np.maximum(total - 1, 1), (counts / total)[::-1]
    is_rare = (own == 0) & (other == 0)
    right = np.where(own > other, counts, 0).sum(axis=1)
    rare = np.where(is_rare, counts, 0).sum(axis=1)
    best = max((right + rare * of_rare) @ (1 / total[:, 0] / 2) for of_rare in np.eye(2))
    surplus = counts[1] / total[1] - counts[0] / total[0]
    (most,) = np.nonzero(surplus == surplus.max())
    return float(best), max((different[number] for number in most.tolist()), key=repr)


def _encode(values: Sequence[Hashable]) -> tuple[NDArray[np.int64], Sequence[Hashable]]:
    """Number the different values: the number of each value, and the values."""
    if isinstance(values[0], str):
        encoded = pa.array(values, pa.string()).dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.fromiter(map(numbers.__getitem__, values), np.int64, len(values)), [*numbers]


def _best_unit(
    texts: Sequence[str], labels: NDArray[np.int64], units: Callable[[str], Iterable[str]]
) -> tuple[float, str]:
    """Find the word or character that separates the classes best, and its balanced accuracy."""
    counts, total = list[Counter[str]](), list[int]()
    for label in (0, 1):
        chosen = [*compress(texts, labels == label)]
        counts.append(Counter(chain.from_iterable({*units(text)} for text in chosen)))
        total.append(len(chosen))
    gaps = (
        (abs(counts[1][unit] / total[1] - counts[0][unit] / total[0]), unit)
        for unit in counts[0].keys() | counts[1].keys()
    )
    gap, unit = max(gaps, default=(0.0, ""))
    return (1 + gap) / 2, unit


def _spell(value: Hashable) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def _first(pattern: re.Pattern[str]) -> Trait:
    def trait(text: str) -> Hashable:
        match = pattern.search(text)
        return next((group for group in match.groups() if group is not None), "") if match else ""

    return trait


def _beginning(num: int) -> Trait:
    return lambda text: text[:num]


def _end(num: int) -> Trait:
    return lambda text: text[-num:]


TRAITS: dict[str, Trait] = {
    "starts with": lambda text: text.split(maxsplit=1)[0],
    "ends with": lambda text: text.rsplit(maxsplit=1)[-1],
    **{f"has as its first {num} characters": _beginning(num) for num in NUM_CHARACTERS},
    **{f"has as its last {num} characters": _end(num) for num in NUM_CHARACTERS},
    "has in a bracketed tag": _first(_TAG),
    "has before its first colon or bar": _first(_HEAD),
    "has after its last colon, bar or hash": _first(_TAIL),
}
"""Name -> function that extracts a trait which may contain the label."""
