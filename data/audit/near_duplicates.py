"""The check ``near_duplicates``: MinHash finds candidates, the exact Jaccard similarity decides.

Candidates come from locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining
of Massive Datasets", section 3.4). It works on arrays, with the signatures of many texts at once
and a sort for each band instead of a table of sets, so that a million texts need no million
objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xlt.data.audit.example_rows import example_rows
from xlt.data.audit.used_rows import UsedRows
from xlt.data.core.finding import Finding
from xlt.data.dataset.equal_texts import EqualTexts
from xlt.data.dataset.schema import Dataset, Row

MIN_JACCARD = 0.8
"""Jaccard similarity of character trigrams from which two texts are nearly equal, such as headlines
that differ in a figure, or in one word of ten. 1.6% of the built-in headlines have such a
neighbour, with another place or year (benchmarks/gate_accuracy.py)."""
NUM_BANDS, NUM_HASHES_A_BAND = 16, 4
"""Size of a signature. A pair with a similarity of :data:`MIN_JACCARD` is a candidate with
probability 1 - (1 - 0.8^4)^16 = 0.9998."""
MIN_ESTIMATE = 0.65
"""Share of equal hashes below which a candidate is skipped. A pair with a similarity of
:data:`MIN_JACCARD` has 0.8 +- 0.05 of 64, so that 0.2% of such pairs are lost."""
NUM_NEIGHBOURS = 4
"""Next rows in a bucket of a band with which a row is compared; pairs of train and test have no
limit. In 1,000 of 160,359 phrasebook texts, many of which are similar, an exact search finds a
neighbour for 137 texts, and this search for 135 of them."""

NUM_HASHES = NUM_BANDS * NUM_HASHES_A_BAND
NUM_WORDS = 4
"""Size of a bitmap, in words of 64 bits. Most pairs with a similarity below 0.7 have too many
different bits, and two bitmaps are compared in a hundredth of the time of two sets."""
_CHUNK_ROWS = 4096
_CHUNK_PAIRS = 1 << 13  # what a chunk reads stays in the processor's cache
_BITS = 21  # bits of a code point, so that each trigram is a different 64-bit integer

Array64 = NDArray[np.uint64]


def check(dataset: Dataset, used_rows: UsedRows) -> list[Finding]:
    """Find rows whose texts are nearly equal, but not equal by :func:`text_key`.

    A pair in train and test of one cell is a warning, because two events may have the same words;
    it is an error if both rows are versions of one story, which no draw of xlt separates. Other
    pairs are an info; their count is a lower bound if very many texts are similar.
    """
    groups = EqualTexts(dataset)
    keys = groups.keys
    signed = signatures(keys)
    findings: list[Finding] = []
    crossing = _crossing(groups, signed.buckets, used_rows)
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
                    + f" (Jaccard {MIN_JACCARD} or more) are split between train and test",
                    "leave these rows out; draws made by xlt keep the rows of a story together"
                    if same_story
                    else "give rows that tell the same event one story, or remove one of each pair",
                    count=len(ids),
                    examples=example_rows(dataset, ids),
                )
            )
    similar = list(_similar(keys, signed))
    for same_story in (True, False):
        pairs = [
            (i, j) for i, j in similar if same_story == any(_versions_in(groups[i], groups[j]))
        ]
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
    """Compute the Jaccard similarity of the trigrams of two texts with a space at both ends."""
    a, b = ({text[n : n + 3] for n in range(len(text) - 2)} for text in (f" {left} ", f" {right} "))
    return len(a & b) / len(a | b)


class Signatures(NamedTuple):
    """Short forms of the trigram sets of num_rows texts."""

    buckets: NDArray[np.uint32]
    """32 bits of the hash of each band, NUM_BANDS x num_rows."""
    codes: NDArray[np.uint8]
    """One byte of each hash, num_rows x NUM_HASHES. The share of equal bytes of two texts is about
    their Jaccard similarity (b-bit MinHash, Li and König 2010)."""
    bitmaps: Array64
    """num_rows x NUM_WORDS; each trigram sets one bit."""
    sizes: NDArray[np.int64]
    """Number of trigrams of each text, repeated ones included."""


def signatures(keys: Sequence[str]) -> Signatures:
    """Compute the MinHash signatures and bitmaps of texts of at least one character."""
    # Odd multipliers permute the 64-bit integers, and never change as a random generator may.
    multipliers = _mix(np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) | np.uint64(1)
    buckets = np.empty((NUM_BANDS, len(keys)), np.uint32)
    codes = np.empty((len(keys), NUM_HASHES), np.uint8)
    bitmaps = np.empty((len(keys), NUM_WORDS), np.uint64)
    for start in range(0, len(keys), _CHUNK_ROWS):
        chunk = keys[start : start + _CHUNK_ROWS]
        grams, starts = _trigrams(chunk)
        grams = _mix(grams)
        lowest = np.empty((NUM_HASHES, len(chunk)), np.uint64)
        hashed = np.empty_like(grams)
        for number, multiplier in enumerate(multipliers):
            np.multiply(grams, multiplier, out=hashed)
            np.minimum.reduceat(hashed, starts, out=lowest[number])
        # Mix again, because the lowest hashes have the same first bits.
        lowest = _mix(lowest)
        stop = start + len(chunk)
        bits = np.uint64(1) << (grams & np.uint64(63))
        words = grams >> np.uint64(6) & np.uint64(NUM_WORDS - 1)
        for word in range(NUM_WORDS):
            bitmaps[start:stop, word] = np.bitwise_or.reduceat(bits * (words == word), starts)
        codes[start:stop] = (lowest & np.uint64(255)).astype(np.uint8).T
        bands = lowest.reshape(NUM_BANDS, NUM_HASHES_A_BAND, len(chunk))
        bucket = bands[:, 0].copy()
        for number in range(1, NUM_HASHES_A_BAND):
            bucket = _mix(bucket ^ bands[:, number])
        buckets[:, start:stop] = bucket >> np.uint64(32)
    return Signatures(buckets, codes, bitmaps, np.fromiter(map(len, keys), np.int64, len(keys)))


def _trigrams(keys: Sequence[str]) -> tuple[Array64, NDArray[np.int64]]:
    """Join the trigrams of all texts, and give the position of each text's first one."""
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
    """Scatter 64-bit integers modulo 2^64 (splitmix64, Steele, Lea, Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def jaccards(keys: Sequence[str], pairs: ArrayLike) -> NDArray[np.float64]:
    """Compute :func:`jaccard` of many pairs of texts at once.

    Args:
        keys: Texts of at least one character.
        pairs: num_pairs x 2 numbers of texts.
    """
    from scipy.sparse import csr_matrix

    used, places = np.unique(np.asarray(pairs), return_inverse=True)
    grams, starts = _trigrams([keys[number] for number in used.tolist()])
    shape = (len(used), np.iinfo(np.int64).max)
    ends = np.concatenate([starts, [len(grams)]])
    sets = csr_matrix((np.ones(len(grams), np.int8), grams.astype(np.int64), ends), shape)
    sets.sum_duplicates()
    sets.data[:] = 1
    left, right = places.reshape(-1, 2).T
    sizes = np.diff(sets.indptr)
    both = np.diff(sets[left].multiply(sets[right]).indptr)
    jaccards: NDArray[np.float64] = both / (sizes[left] + sizes[right] - both)
    return jaccards


def _similar(keys: Sequence[str], signed: Signatures) -> Iterator[tuple[int, int]]:
    """Find pairs of nearly equal texts, one or more for nearly every text with a neighbour."""
    marked = np.zeros(len(keys), bool)
    unequal = np.full(1, -1)  # numbers of pairs that were compared, sorted
    for bucket in signed.buckets:
        order = np.argsort(bucket, kind="stable")
        ordered = bucket[order]
        rejected = [unequal]
        for lag in range(1, NUM_NEIGHBOURS + 1):
            (places,) = np.nonzero(ordered[lag:] == ordered[:-lag])
            left, right = order[places], order[places + lag]
            # Skip pairs of texts that both have a neighbour already.
            new = ~(marked[left] & marked[right])
            left, right = left[new], right[new]
            may_be = _may_be_near(signed, left, right)
            may_be[may_be] = ~_are_among(unequal, (left * len(keys) + right)[may_be])
            left, right = left[may_be], right[may_be]
            for start in range(0, len(left), _CHUNK_PAIRS):
                a, b = left[start : start + _CHUNK_PAIRS], right[start : start + _CHUNK_PAIRS]
                equal = jaccards(keys, np.stack([a, b], axis=1)) >= MIN_JACCARD
                rejected.append((a * len(keys) + b)[~equal])
                for i, j in zip(a[equal].tolist(), b[equal].tolist(), strict=True):
                    if not (marked[i] and marked[j]):
                        marked[i] = marked[j] = True
                        yield i, j
        unequal = np.sort(np.concatenate(rejected))


def _may_be_near(
    signed: Signatures, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark pairs of texts whose similarity may be :data:`MIN_JACCARD`, from bitmaps and codes.

    Two sets with S trigrams together, D of them in one set only, have the similarity
    (S - D) / (S + D). D is at least the number of different bits.
    """
    may_be = np.empty(len(left), bool)
    for start in range(0, len(left), _CHUNK_PAIRS):
        a, b = left[start : start + _CHUNK_PAIRS], right[start : start + _CHUNK_PAIRS]
        different = signed.bitmaps.take(a, axis=0) ^ signed.bitmaps.take(b, axis=0)
        most = (signed.sizes[a] + signed.sizes[b]) * (1 - MIN_JACCARD) / (1 + MIN_JACCARD)
        chunk = np.bitwise_count(different).sum(axis=1) <= most + 1e-6
        a, b = a[chunk], b[chunk]
        equal = signed.codes.take(a, axis=0) == signed.codes.take(b, axis=0)
        chunk[chunk] = equal.sum(axis=1) >= MIN_ESTIMATE * NUM_HASHES
        may_be[start : start + _CHUNK_PAIRS] = chunk
    return may_be


def _are_among(values: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the numbers that are among sorted values, the lowest of which is below them all."""
    nearest = values[np.searchsorted(values, numbers, side="right") - 1]
    is_among: NDArray[np.bool_] = nearest == numbers
    return is_among


def _crossing(
    groups: EqualTexts, buckets: NDArray[np.uint32], used_rows: UsedRows
) -> list[tuple[int, int]]:
    """Find all pairs of nearly equal texts that one cell splits between train and test."""
    trained, tested = (groups.texts_of(ids) for ids in (used_rows.trained, used_rows.tested))
    candidates: set[tuple[int, int]] = set()
    for bucket in buckets:
        held: dict[int, list[int]] = {}
        for number in trained:
            held.setdefault(int(bucket[number]), []).append(number)
        for number in tested:
            for other in held.get(int(bucket[number]), ()):
                if other != number:
                    candidates.add((other, number))
    return [
        (i, j)
        for i, j in sorted(candidates)
        if used_rows.crosses((row.id for row in groups[i]), (row.id for row in groups[j]))
        and jaccard(groups.keys[i], groups.keys[j]) >= MIN_JACCARD
    ]


def _versions_in(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Find pairs of rows of two texts that belong to one story."""
    return ((a, b) for a in left if a.story is not None for b in right if b.story == a.story)
