"""Label leaks: texts that contain their own label, so that every score would be meaningless."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

from xlt.data.dataset.schema import Dataset, text_key

LEAK_SHARE = 0.95
"""Balanced accuracy from which a single trait of the texts is a leak.

A leaked label reaches 1. The best trait below reaches 0.81 on the built-in headlines, and 0.86
(obituaries) on 20 tasks "one topic or the rest" of Wikinews sentences."""
MIN_ROWS = 50
"""Fewest different texts of each class in a language that is judged; fewer look alike by chance."""
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
    traits = dict(TRAITS)
    spelled = sorted({text_key(value) for value in label_values} - {""})
    if spelled:
        traits["contains of the label values"] = _contains(spelled)
    columns = (dataset.table[name].to_pylist() for name in ("lang", "text", "label"))
    by_lang: dict[str, dict[tuple[str, int], str]] = {}
    for lang, text, label in zip(*columns, strict=True):
        # Equal texts count once, because repeated headlines would confirm each other.
        by_lang.setdefault(lang, {}).setdefault((text_key(text), label), text)
    problems = []
    for lang, rows in sorted(by_lang.items()):
        texts, labels = list(rows.values()), [label for _, label in rows]
        if min(sum(labels), len(labels) - sum(labels)) < MIN_ROWS:
            continue
        share, what = best_trait(texts, labels, traits)
        if share >= LEAK_SHARE:
            problems.append(
                f"the {lang} texts contain their label: {what} alone predicts it with a balanced "
                f"accuracy of {share:.1%} ({LEAK_SHARE:.0%} or more is refused); remove the label "
                "from the texts"
            )
    return problems


def best_trait(
    texts: Sequence[str], labels: Sequence[int], traits: dict[str, Trait] | None = None
) -> tuple[float, str]:
    """Find the trait that separates the classes best.

    Args:
        texts: Texts of one language.
        labels: 0 or 1 for each text; both occur.
        traits: Name -> function that extracts the trait of a text; None: :data:`TRAITS`.

    Returns:
        Balanced accuracy (0.5 to 1), and the trait in words, with the value that is most typical
        of class 1.
    """
    judged = []
    for name, trait in (TRAITS if traits is None else traits).items():
        values = [trait(text) for text in texts]
        share, value = _share(values, labels)
        example = "" if value is None or value == () else f" (for example {_spell(value)})"
        judged.append((share, f"what it {name}{example}"))
    for kind, units in (("word", str.split), ("character", list)):
        share, unit = _best_unit(texts, labels, units)
        judged.append((share, f"whether it contains the {kind} {unit!r}"))
    return max(judged, key=lambda pair: pair[0])


def _share(values: Sequence[Hashable], labels: Sequence[int]) -> tuple[float, Hashable]:
    """Compute the balanced accuracy of a trait, and its value that is most typical of class 1.

    A row gets the label of the *other* rows with its value, because unique values would otherwise
    look like perfect predictors. All values that no other row has stand for the same class.
    """
    counts = Counter(zip(values, labels, strict=True))
    total = Counter(labels)
    best = 0.0
    for class_of_rare in (0, 1):
        right = 0.0
        for (value, label), num in counts.items():
            other = counts[value, 1 - label] / total[1 - label]
            own = (num - 1) / max(total[label] - 1, 1)
            if own > other or (own == other == 0 and label == class_of_rare):
                right += num / total[label] / 2
        best = max(best, right)

    def surplus(value: Hashable) -> float:
        return counts[value, 1] / total[1] - counts[value, 0] / total[0]

    return best, max(set(values), key=lambda value: (surplus(value), repr(value)))


def _best_unit(
    texts: Sequence[str], labels: Sequence[int], units: Callable[[str], Iterable[str]]
) -> tuple[float, str]:
    """Find the word or character that separates the classes best, and its balanced accuracy."""
    counts: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(set(units(text)))
    total = Counter(labels)
    gaps = [
        (abs(counts[1][unit] / total[1] - counts[0][unit] / total[0]), unit)
        for unit in counts[0] | counts[1]
    ]
    gap, unit = max(gaps, default=(0.0, ""))
    return (1 + gap) / 2, unit


def _spell(value: Hashable) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def _first(pattern: re.Pattern[str]) -> Trait:
    def trait(text: str) -> Hashable:
        match = pattern.search(text)
        return next((group for group in match.groups() if group is not None), "") if match else ""

    return trait


def _contains(values: Sequence[str]) -> Trait:
    def trait(text: str) -> Hashable:
        key = text_key(text)
        return tuple(value for value in values if value in key)

    return trait


def _beginning(num: int) -> Trait:
    return lambda text: text[:num]


def _end(num: int) -> Trait:
    return lambda text: text[-num:]


TRAITS: dict[str, Trait] = {
    "starts with": lambda text: text.split()[0],
    "ends with": lambda text: text.split()[-1],
    **{f"has as its first {num} characters": _beginning(num) for num in NUM_CHARACTERS},
    **{f"has as its last {num} characters": _end(num) for num in NUM_CHARACTERS},
    "has in a bracketed tag": _first(_TAG),
    "has before its first colon or bar": _first(_HEAD),
    "has after its last colon, bar or hash": _first(_TAIL),
}
"""Name -> function that extracts a trait which may contain the label."""
