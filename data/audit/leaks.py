"""Whether the texts give their labels away, in which case every score would be meaningless."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

from xlt.data.dataset.schema import Dataset, text_key

LEAK_SHARE = 0.95
"""Share of rows, both classes weighing the same, that one trait alone may not label correctly.

A leaked label labels all of them. The best trait of those below reaches 0.81 on the built-in
headlines, and on 20 tasks "one topic or the rest" of Wikinews sentences 0.86 (obituaries)."""
MIN_ROWS = 50
"""Different texts of each class that a language needs to be judged: fewer look alike by chance."""
NUM_CHARACTERS = (1, 2, 3, 4)
"""Lengths of the beginnings and ends that are looked at, for text without spaces."""

_OPEN, _CLOSE = r"\[\(\{<（［｛〈《「『【〔〖", r"\]\)\}>）］｝〉》」』】〕〗"
_TAG = re.compile(rf"^\s*[{_OPEN}]([^{_CLOSE}]*)[{_CLOSE}]|[{_OPEN}]([^{_CLOSE}]*)[{_CLOSE}]\s*$")
_HEAD = re.compile(r"^([^:：|｜/／]*)[:：|｜/／]")
_TAIL = re.compile(r"[:：|｜/／#＃]([^:：|｜/／#＃]*)$")

Trait = Callable[[str], Hashable]


def find_leaks(dataset: Dataset, label_values: Iterable[str] = ()) -> list[str]:
    """Look for a trait of the texts that tells the classes apart almost alone.

    The traits: the first and last word, the first and last characters, a bracketed tag and what
    stands before the first or after the last colon, bar or hash; which of ``label_values`` the
    text contains; any single word or character that stands in the texts of one class only. Each
    is judged for each language by the share of rows that it labels correctly on its own, see
    :data:`LEAK_SHARE`. Nothing is random.

    Args:
        dataset: What trials would learn from.
        label_values: The labels as the file spells them, before they became 0 and 1.

    Returns:
        A sentence for each language that has such a trait; no sentence: none was found.
    """
    traits = dict(TRAITS)
    spelled = sorted({text_key(value) for value in label_values} - {""})
    if spelled:
        traits["contains of the label values"] = _contains(spelled)
    columns = (dataset.table[name].to_pylist() for name in ("lang", "text", "label"))
    by_lang: dict[str, dict[tuple[str, int], str]] = {}
    for lang, text, label in zip(*columns, strict=True):
        # Equal texts count once: repeated headlines would vouch for each other.
        by_lang.setdefault(lang, {}).setdefault((text_key(text), label), text)
    problems = []
    for lang, rows in sorted(by_lang.items()):
        texts, labels = list(rows.values()), [label for _, label in rows]
        if min(sum(labels), len(labels) - sum(labels)) < MIN_ROWS:
            continue
        share, what = best_trait(texts, labels, traits)
        if share >= LEAK_SHARE:
            problems.append(
                f"the {lang} texts give their labels away: {what} alone labels {share:.1%} of the "
                f"rows correctly (both classes weighing the same; {LEAK_SHARE:.0%} is refused); "
                "take the label out of the text"
            )
    return problems


def best_trait(
    texts: Sequence[str], labels: Sequence[int], traits: dict[str, Trait] | None = None
) -> tuple[float, str]:
    """The trait that tells the classes apart best.

    Args:
        texts: Texts of one language.
        labels: 0 or 1 for each text, both present.
        traits: Name -> what of a text is looked at; :data:`TRAITS` if not given.

    Returns:
        Share of rows labelled correctly (0.5 to 1, both classes weighing the same), and in words
        which trait it is, with the value that is most typical of class 1.
    """
    found = []
    for name, trait in (TRAITS if traits is None else traits).items():
        values = [trait(text) for text in texts]
        share, value = _share(values, labels)
        shown = "" if value is None or value == () else f" (for example {_spell(value)})"
        found.append((share, f"what it {name}{shown}"))
    for kind, units in (("word", str.split), ("character", list)):
        share, unit = _best_unit(texts, labels, units)
        found.append((share, f"whether it contains the {kind} {unit!r}"))
    return max(found, key=lambda pair: pair[0])


def _share(values: Sequence[Hashable], labels: Sequence[int]) -> tuple[float, Hashable]:
    """Share of rows that the value labels correctly, and the value most typical of class 1.

    A row is labelled by the *other* rows that have its value, or unique values would look like
    perfect predictors; a value that no other row has stands for one of the classes throughout.
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
    """The word or character whose presence tells the classes apart best, and how well."""
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
"""Name -> what of a text might give its label away."""
