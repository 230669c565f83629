"""Rows of nearly equal text: MinHash finds candidates, exact Jaccard similarity decides.

Candidates by locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", section 3.4) over arrays: signatures of a chunk of texts at once, and a sort a
band instead of a table of sets, so that a million texts need no million objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.schema import Dataset, Row

MIN_JACCARD = 0.8
"""Share of the character trigrams of two texts that both have, from which they count as nearly
equal: a headline whose figure, or a word of ten, was changed. Of the built-in headlines 1.6%
have such a neighbour, one place or year being another (benchmarks/gate_accuracy.py)."""
NUM_BANDS, NUM_HASHES_A_BAND = 16, 4
"""A pair at :data:`MIN_JACCARD` is a candidate with probability 1 - (1 - 0.8^4)^16 = 0.9998."""
MIN_ESTIMATE = 0.65
"""Share of equal hashes below which a candidate is not looked at. A pair at :data:`MIN_JACCARD`
has 0.8 +- 0.05 of 64, so that 0.2% of such pairs are lost."""
NUM_NEIGHBOURS = 4
"""Following rows of a band's bucket that a row is compared with; pairs across train and test are
compared without a limit. Of 1,000 rows sampled from 160,359 phrasebook texts, very many of them
alike, an exact search finds a neighbour for 137; this one for 135 of those."""

NUM_HASHES = NUM_BANDS * NUM_HASHES_A_BAND
_CHUNK_ROWS = 4096
_CHUNK_PAIRS = 1 << 18
_BITS = 21  # of a code point, so that three of them are one integer and no two trigrams the same

Array64 = npt.NDArray[np.uint64]


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Find rows whose texts are nearly, and by :func:`text_key` not fully, equal.

    Across train and test of one cell they are a warning, because two events may be told in the
    same words; an error if both rows are of one story, which no draw would have parted. Within the
    data they are an info, whose count is a lower bound where very many texts are alike. Rows of
    one story are versions.
    """
    by_key: dict[str, list[Row]] = {}
    for rows in dataset.by_lang.values():
        for row in rows:
            by_key.setdefault(row.key, []).append(row)
    keys, groups = list(by_key), list(by_key.values())
    del by_key
    buckets, codes = signatures(keys)
    findings = []
    crossing = _crossing(keys, groups, buckets, used_rows)
    for same_story in (True, False):
        pairs = [
            (i, j)
            for i, j in crossing
            if same_story
            == any(used_rows.crosses([a.id], [b.id]) for a, b in _versions_in(groups[i], groups[j]))
        ]
        parted = (row.id for pair in pairs for n in pair for row in groups[n])
        ids = list(dict.fromkeys(filter(used_rows.uses, parted)))
        if pairs:
            findings.append(
                Finding(
                    "near_duplicates",
                    "error" if same_story else "warning",
                    f"{len(pairs)} pairs of "
                    + ("versions of one story" if same_story else "nearly equal texts")
                    + f" (Jaccard {MIN_JACCARD} or more) are parted between train and test",
                    "leave these rows out; draws made by xlt keep the rows of a story together"
                    if same_story
                    else "give rows that tell the same event one story, or remove one of each pair",
                    count=len(ids),
                    examples=example_rows(dataset, ids),
                )
            )
    found = list(_similar(keys, buckets, codes))
    for same_story in (True, False):
        pairs = [(i, j) for i, j in found if same_story == any(_versions_in(groups[i], groups[j]))]
        ids = list(dict.fromkeys(row.id for pair in pairs for n in pair for row in groups[n]))
        if pairs:
            what = "a version of their story" if same_story else "a text of no common story"
            findings.append(
                Finding(
                    "near_duplicates",
                    "info",
                    f"{len(ids)} rows are nearly equal to {what} (Jaccard {MIN_JACCARD} or more)",
                    "nothing needs to be done"
                    if same_story
                    else "if they tell the same event, give them one story",
                    count=len(ids),
                    examples=example_rows(dataset, ids),
                )
            )
    return findings


def jaccard(left: str, right: str) -> float:
    """Share of the trigrams of two texts, with a space at both ends, that both have."""
    a, b = ({text[n : n + 3] for n in range(len(text) - 2)} for text in (f" {left} ", f" {right} "))
    return len(a & b) / len(a | b)


def signatures(keys: Sequence[str]) -> tuple[Array64, npt.NDArray[np.uint8]]:
    """MinHash signatures of texts.

    Args:
        keys: num_rows texts of at least one character.

    Returns:
        The hash of each band, NUM_BANDS x num_rows; and one byte of each hash, num_rows x
        NUM_HASHES, of which equal texts share all and others about as many as their Jaccard
        similarity (b-bit MinHash, Li and König 2010).
    """
    # Odd multipliers permute the 64-bit integers; no generator, whose stream might change.
    multipliers = _mix(np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) | np.uint64(1)
    buckets = np.empty((NUM_BANDS, len(keys)), np.uint64)
    codes = np.empty((len(keys), NUM_HASHES), np.uint8)
    for start in range(0, len(keys), _CHUNK_ROWS):
        chunk = keys[start : start + _CHUNK_ROWS]
        grams, starts = _trigrams(chunk)
        grams = _mix(grams)
        lowest = np.empty((NUM_HASHES, len(chunk)), np.uint64)
        hashed = np.empty_like(grams)
        for number, multiplier in enumerate(multipliers):
            np.multiply(grams, multiplier, out=hashed)
            np.minimum.reduceat(hashed, starts, out=lowest[number])
        # Mixed again, because the lowest hashes share their first bits.
        lowest = _mix(lowest)
        stop = start + len(chunk)
        codes[start:stop] = (lowest & np.uint64(255)).astype(np.uint8).T
        bands = lowest.reshape(NUM_BANDS, NUM_HASHES_A_BAND, len(chunk))
        bucket = bands[:, 0].copy()
        for number in range(1, NUM_HASHES_A_BAND):
            bucket = _mix(bucket ^ bands[:, number])
        buckets[:, start:stop] = bucket
    return buckets, codes


def _trigrams(keys: Sequence[str]) -> tuple[Array64, npt.NDArray[np.int64]]:
    """The trigrams of texts after one another, and where each text's begin."""
    text = "".join(f" {key} " for key in keys)
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    shift = np.uint64(_BITS)
    grams = (points[:-2] << shift | points[1:-1]) << shift | points[2:]
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))  # a text of n has n trigrams
    ends = np.cumsum(lengths + 2)
    keep = np.ones(len(points), bool)
    keep[ends - 1] = keep[ends - 2] = False
    return grams[keep[:-2]], np.cumsum(lengths) - lengths


def _mix(values: Array64) -> Array64:
    """Scatter 64-bit integers (splitmix64, Steele, Lea, Flood 2014); wraps around."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def _similar(
    keys: Sequence[str], buckets: Array64, codes: npt.NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """Pairs of nearly equal texts, at least one for nearly every text that has a neighbour."""
    marked = np.zeros(len(keys), bool)
    for bucket in buckets:
        order = np.argsort(bucket, kind="stable")
        ordered = bucket[order]
        for lag in range(1, NUM_NEIGHBOURS + 1):
            (places,) = np.nonzero(ordered[lag:] == ordered[:-lag])
            left, right = order[places], order[places + lag]
            # A pair of texts that both have a neighbour already would tell nothing new.
            new = ~(marked[left] & marked[right])
            left, right = left[new], right[new]
            for start in range(0, len(left), _CHUNK_PAIRS):
                a, b = left[start : start + _CHUNK_PAIRS], right[start : start + _CHUNK_PAIRS]
                near = np.mean(codes[a] == codes[b], axis=1) >= MIN_ESTIMATE
                for i, j in zip(a[near].tolist(), b[near].tolist(), strict=True):
                    if marked[i] and marked[j]:
                        continue
                    if jaccard(keys[i], keys[j]) >= MIN_JACCARD:
                        marked[i] = marked[j] = True
                        yield i, j


def _crossing(
    keys: Sequence[str], groups: Sequence[Sequence[Row]], buckets: Array64, used_rows: UsedRows
) -> list[tuple[int, int]]:
    """All pairs of nearly equal texts of which one cell trains on one and tests on the other."""
    roles: dict[str, list[int]] = {"trained": [], "tested": []}
    for number, rows in enumerate(groups if used_rows.draws else ()):
        if any(row.id in used_rows.trained for row in rows):
            roles["trained"].append(number)
        if any(row.id in used_rows.tested for row in rows):
            roles["tested"].append(number)
    candidates: set[tuple[int, int]] = set()
    for bucket in buckets:
        held: dict[int, list[int]] = {}
        for number in roles["trained"]:
            held.setdefault(int(bucket[number]), []).append(number)
        for number in roles["tested"]:
            for other in held.get(int(bucket[number]), ()):
                if other != number:
                    candidates.add((other, number))
    return [
        (i, j)
        for i, j in sorted(candidates)
        if used_rows.crosses((row.id for row in groups[i]), (row.id for row in groups[j]))
        and jaccard(keys[i], keys[j]) >= MIN_JACCARD
    ]


def _versions_in(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Rows of two texts that are of one story."""
    return ((a, b) for a in left if a.story is not None for b in right if b.story == a.story)
