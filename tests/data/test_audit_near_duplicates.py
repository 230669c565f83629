"""The check near_duplicates agrees with brute force, datasketch and hand counts."""

from __future__ import annotations

import itertools
import random

import datasketch
import numpy as np
import pytest
from audit_rows import cell, make
from hypothesis import given
from hypothesis import strategies as st

from xlt.data.audit import near_duplicates
from xlt.data.audit.near_duplicates import (
    MIN_JACCARD,
    NUM_HASHES,
    check,
    jaccard,
    jaccards,
    signatures,
)
from xlt.data.audit.registry import audit
from xlt.data.audit.used_rows import UsedRows
from xlt.data.dataset.schema import text_key

EN = "Oil major pledges to cut emissions from its refineries by half until 2050"
JA = "電力大手の東和電力、石炭火力発電所の全廃を二〇三〇年までに実現すると表明"
OTHER = ["Striker signs for five more years", "首位攻防、延長で引き分け"]


def trigrams(text: str) -> set[str]:
    return {"".join(three) for three in zip(*(f" {text} "[n:] for n in range(3)), strict=False)}


def changed(text: str, num_changes: int, seed: int) -> str:
    rng = random.Random(seed)
    letters = list(text)
    for place in rng.sample(range(len(letters)), num_changes):
        letters[place] = chr(rng.randrange(0x4E00, 0x9000))
    return "".join(letters)


@given(st.text(min_size=1), st.text(min_size=1))
def test_jaccard_is_that_of_the_sets(left: str, right: str) -> None:
    a, b = trigrams(left), trigrams(right)
    assert jaccard(left, right) == len(a & b) / len(a | b)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_jaccards_of_many_pairs_are_those_of_each(texts: list[str]) -> None:
    pairs = list(itertools.product(range(len(texts)), repeat=2))
    assert jaccards(texts, pairs).tolist() == [jaccard(texts[i], texts[j]) for i, j in pairs]


def test_signatures_estimate_jaccard_and_do_not_change() -> None:
    texts = [changed(EN, n, n) for n in range(0, 30, 3)]
    codes = signatures(texts).codes
    for i, j in itertools.combinations(range(len(texts)), 2):
        estimate = np.mean(codes[i] == codes[j])
        exact = jaccard(texts[i], texts[j])
        assert abs(estimate - exact) < 4 * np.sqrt(0.25 / NUM_HASHES)
    # The same on every machine and in every version: a change would change what is found.
    buckets, codes, _, _ = signatures(["a", EN, JA])
    assert codes[:, :4].tolist() == [[94, 92, 3, 136], [49, 200, 99, 125], [250, 171, 4, 149]]
    assert signatures([JA]).buckets.tolist() == buckets[:, 2:].tolist()


@pytest.mark.parametrize("text", [EN, JA, "ab ab ab ab ab ab ab ab"])
def test_no_bitmap_rejects_a_pair_that_is_near(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MIN_ESTIMATE", 0)  # the bitmaps decide alone
    texts = [changed(text, n % 8, n) for n in range(300)]
    left, right = np.array([*itertools.combinations(range(len(texts)), 2)]).T
    may_be = near_duplicates._may_be_near(signatures(texts), left, right)
    is_near = jaccards(texts, np.stack([left, right], axis=1)) >= MIN_JACCARD
    assert is_near.any() and not (is_near & ~may_be).any()
    assert not may_be.all()


@pytest.mark.parametrize("text", [EN, JA])
def test_near_duplicates_are_those_of_brute_force_and_of_datasketch(text: str) -> None:
    rng = random.Random(0)
    families = ["".join(rng.choices(text, k=40)) for _ in range(40)]
    texts = [changed(family, n, seed) for seed, family in enumerate(families) for n in range(3)]
    rng.shuffle(texts)
    keys = [text_key(t) for t in texts]
    pairs = {
        (i, j)
        for i, j in itertools.combinations(range(len(keys)), 2)
        if jaccard(keys[i], keys[j]) >= MIN_JACCARD
    }
    assert len(pairs) > 20
    train, test = range(0, 120, 2), range(1, 120, 2)
    crossing = {(i, j) for i, j in pairs if (i + j) % 2}

    index = datasketch.MinHashLSH(params=(64, 2), num_perm=128)
    hashes = []
    for n, key in enumerate(keys):
        hashes.append(datasketch.MinHash(num_perm=128, seed=1))
        hashes[-1].update_batch([gram.encode() for gram in trigrams(key)])
        index.insert(n, hashes[-1])
    theirs = {
        (n, other)
        for n in range(len(keys))
        for other in index.query(hashes[n])
        if n < other and jaccard(keys[n], keys[other]) >= MIN_JACCARD
    }
    assert theirs == pairs

    used_rows = UsedRows((cell(" ".join(map(str, train)), " ".join(map(str, test))),))
    warning, info = check(make(*({"text": t} for t in texts)), used_rows)
    assert warning.message.startswith(f"{len(crossing)} pairs of nearly equal texts")
    assert warning.severity == "warning"
    assert warning.count == len({n for pair in crossing for n in pair})
    assert (info.severity, info.count) == ("info", len({n for pair in pairs for n in pair}))


@pytest.mark.parametrize("text", [EN, JA])
def test_versions_of_a_story_must_not_be_split(text: str) -> None:
    later = text.replace("2050", "2045").replace("二〇三〇", "二〇三五")
    rows = [{"text": text, "story": "s"}, {"text": later, "story": "s"}]
    rows += [{"text": other} for other in OTHER]
    dataset = make(*rows)
    (info,) = check(dataset, UsedRows())
    assert info.severity == "info" and "a version of their story" in info.message
    error, _ = check(dataset, UsedRows((cell("0 2", "1 3"),)))
    assert (error.severity, error.count) == ("error", 2) and "split between" in error.message
    assert [f.severity for f in check(dataset, UsedRows((cell("0 1", "2 3"),)))] == ["info"]
    # The story of the drawn rows counts, not the story of other rows with their texts.
    dataset = make({"text": text}, rows[1], {"text": OTHER[0]}, rows[0])
    warning, _ = check(dataset, UsedRows((cell("0", "1 2"),)))
    assert (warning.severity, warning.count) == ("warning", 2)


def test_equal_texts_short_texts_and_pairs_are_no_near_duplicates() -> None:
    assert (
        audit(make(*({"text": t} for t in ("a", "b", "ab", EN, EN))), None, ["near_duplicates"])
        == ()
    )
    pairs = [{"text": "Wind", "text_pair": pair} for pair in ("It blows hard", "No rain today")]
    assert audit(make(*pairs), None, ["near_duplicates"]) == ()


@given(st.lists(st.text("ab電 ", min_size=1).filter(str.strip), min_size=2, max_size=12))
def test_rows_are_reported_only_if_a_pair_is_near(texts: list[str]) -> None:
    keys = {text_key(text) for text in texts}
    near = {
        key
        for pair in itertools.combinations(sorted(keys), 2)
        for key in pair
        if jaccard(*pair) >= MIN_JACCARD
    }
    findings = check(make(*({"text": text} for text in texts)), UsedRows())
    num_reported = sum(finding.count for finding in findings)
    assert num_reported <= sum(text_key(text) in near for text in texts)
