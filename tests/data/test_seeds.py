"""Seeds: golden values, and different seeds for different purposes."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from xlt.data.core.seeds import derive_seed, rank_by

# Of `printf '0\037dropout' | sha256sum` and its like, not of this code.
DROPOUT_0 = "9e0d180ccf3339c10bd16c45ede16a9eb041948147554ae826b39ec01331dbde"
RANK_0 = "50bb7e25b28185c8ae2847487ac0d2ee6a7d652632802aadff9ce4ab538043a6"


def test_golden_values() -> None:
    assert derive_seed(0, "dropout") == int(DROPOUT_0[:16], 16) >> 1
    assert rank_by(0, "train-ja")("id-1").hex() == RANK_0


def test_formula() -> None:
    digest = hashlib.sha256(b"7\x1forder\x1f3").digest()
    assert derive_seed(7, "order", 3) == int.from_bytes(digest[:8], "big") // 2


@given(st.integers(), st.lists(st.one_of(st.text(), st.integers()), max_size=3))
def test_seeds_fit_the_generators(root: int, purpose: list[str | int]) -> None:
    seed = derive_seed(root, *purpose)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(root, *purpose)


def test_purposes_and_roots_differ() -> None:
    seeds = {derive_seed(root, p, n) for root in range(9) for p in "abc" for n in range(9)}
    assert len(seeds) == 9 * 3 * 9
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
