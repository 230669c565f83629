"""LIME on token ids against the lime package, scikit-learn and whole enumerations of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances, r2_score

from xlt.data.core.errors import InputError
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.explain.lime import Surrogate, kernel
from xlt.trainables.explain.masks import draw_masks, list_all_masks
from xlt.trainables.explain.target import Explanation
from xlt.trainables.spec.explain import Explain

SLOPES = np.array([2.0, -1.0, 0.5, 0.0, 3.0, -0.25])


def score(kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """A probability that is not linear in the six tokens that are kept."""
    kept = kept.astype(float)
    logits = kept @ SLOPES - 1.5 + 1.25 * kept[..., 0] * kept[..., 2]
    return 1 / (1 + np.exp(-logits))


def predict(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same of ids: 7 begins a text, 10 ... 15 are the six tokens, whatever their order."""
    assert (rows[:, 0] == 7).all(), "the special token was hidden"
    return score(np.stack([(rows == 10 + token).any(axis=1) for token in range(6)], axis=1))


def explained(token_ids: list[list[int]], **changes: object) -> list[Explanation]:
    values: dict[str, object] = {"num_samples": 1000, **changes}
    return explain_texts(
        predict, token_ids, hidden_as=9, never_hidden={7}, settings=Explain.parse(values)
    )


# lime 0.2.0.1: LimeBase(kernel).explain_instance_with_data(data, [1 - p, p], d, 1, 6,
# feature_selection="none") on the masks of `every_mask`, each as often as counted, p = score(mask),
# d = 100 x pairwise_distances(data, data[:1], "cosine"). Six coefficients, intercept, R^2.
LIME_BASE = {
    25.0: ([0.3197193048097472, -0.12436676265283618, 0.1303984460902253, -0.02706167358948882,
            0.3865798848946021, -0.050183534835422476], 0.31790797706882645, 0.8856664066029727),
    256.0: ([0.3485473169557943, -0.1344500843166835, 0.14025713698653608, -0.020910708060363548,
             0.4354999055807241, -0.04771903316039476], 0.262800467192002, 0.9095576986374865),
}  # fmt: skip


def every_mask() -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """All 64 masks of six tokens, the whole text first, drawn one to three times."""
    bits = ((np.arange(64)[:, None] >> np.arange(6)) & 1)[::-1]
    return bits.astype(bool), 1 + np.arange(64) % 3


@pytest.mark.parametrize("width", LIME_BASE)
def test_the_numbers_of_the_lime_package(width: float) -> None:
    kept, counts = every_mask()
    weights = kernel(kept.sum(axis=1), 6, width)
    estimates = Surrogate(kept, counts, weights, 1.0).fit(score(kept)[None])
    coefficients, intercept, r2 = LIME_BASE[width]
    assert estimates[0][0] == pytest.approx(coefficients, rel=0, abs=1e-12)
    assert estimates[2][0] == pytest.approx(intercept, rel=0, abs=1e-12)
    assert estimates[3][0] == pytest.approx(r2, rel=0, abs=1e-12)


# lit_nlp 1.3.1: components.citrus.lime.explain("a b c d e f", [1 - p, p] of score, 1,
# num_samples=40, seed=3, kernel=exponential_kernel of this width). The masks that it asked for, bit
# by bit, the first token highest; six coefficients, intercept (its R^2 is without weights).
CITRUS_MASKS = (
    63, 32, 32, 56, 55, 0, 16, 8, 4, 21, 5, 6, 0, 4, 46, 61, 46, 25, 20, 45, 62, 29, 6, 4, 0, 0, 47,
    31, 0, 58, 42, 0, 7, 26, 0, 26, 16, 9, 39, 30, 0,
)  # fmt: skip
CITRUS = {
    25.0: ([0.3014890019311999, -0.06516031076433984, 0.0702422784079435, 0.028246151232357068,
            0.30467787763095283, -0.04445586028994382], 0.3448145071953063),
    256.0: ([0.3439778835356919, -0.0626696879058572, 0.09661419591081338, 0.03777406644490534,
             0.40231957317271794, -0.025687643961449524], 0.20510773386620246),
}  # fmt: skip


@pytest.mark.parametrize("width", CITRUS)
def test_the_numbers_of_lit(width: float) -> None:
    numbers, counts = np.unique(CITRUS_MASKS, return_counts=True)
    kept = (numbers[:, None] >> np.arange(5, -1, -1) & 1).astype(bool)
    weights = kernel(kept.sum(axis=1), 6, width)
    estimates = Surrogate(kept, counts, weights, 1.0).fit(score(kept)[None])
    coefficients, intercept = CITRUS[width]
    assert estimates[0][0] == pytest.approx(coefficients, rel=0, abs=1e-9)
    assert estimates[2][0] == pytest.approx(intercept, rel=0, abs=1e-9)


@given(
    num_tokens=st.integers(1, 12),
    num_samples=st.integers(2, 200),
    width=st.sampled_from([0.5, 25.0, 256.0]),
    alpha=st.sampled_from([0.01, 1.0, 30.0]),
    seed=st.integers(0, 999),
)
@settings(max_examples=60)
def test_ridge_of_scikit_learn_on_undeduplicated_masks(
    num_tokens: int, num_samples: int, width: float, alpha: float, seed: int
) -> None:
    kept, counts = draw_masks(num_tokens, num_samples, seed)
    data = np.repeat(kept, counts, axis=0).astype(float)
    distances = 100 * pairwise_distances(data, data[:1], metric="cosine").ravel()
    weights = np.sqrt(np.exp(-(distances**2) / width**2))
    scores = np.random.default_rng(seed).random((3, len(kept)))
    estimates = Surrogate(kept, counts, kernel(kept.sum(axis=1), num_tokens, width), alpha).fit(
        scores
    )
    for text, row in enumerate(scores):
        y = np.repeat(row, counts)
        ridge = Ridge(alpha, solver="svd").fit(data, y, sample_weight=weights)
        assert estimates[0][text] == pytest.approx(ridge.coef_, abs=1e-9)
        assert estimates[2][text] == pytest.approx(ridge.intercept_, abs=1e-9)
        if weights.sum() > 1.001:  # else the text itself is all that counts
            expected = r2_score(y, ridge.predict(data), sample_weight=weights)
            assert estimates[3][text] == pytest.approx(expected, abs=1e-7)


def test_how_many_are_hidden_is_uniform_and_which_is_too() -> None:
    kept, counts = draw_masks(5, 20_000, 3)
    assert kept[0].all() and counts[0] == 1 and counts.sum() == 20_001
    assert len(np.unique(kept, axis=0)) == len(kept) == 32
    hidden = 5 - kept[1:].sum(axis=1)
    by_number = np.bincount(hidden, weights=counts[1:], minlength=6)[1:]
    assert chisquare(by_number).pvalue > 1e-3
    two = counts[1:][hidden == 2]
    assert len(two) == 10 and chisquare(two).pvalue > 1e-3


@pytest.mark.parametrize("num_tokens", [2, 5])
def test_all_masks_are_the_mean_of_many_draws(num_tokens: int) -> None:
    kept, counts = list_all_masks(num_tokens, 100_000)
    assert kept[0].all() and counts[0] == 1 and counts.sum() == pytest.approx(100_001)
    assert len(np.unique(kept, axis=0)) == len(kept) == 2**num_tokens
    drawn, times = draw_masks(num_tokens, 100_000, 0)
    times_of = dict(zip(map(tuple, drawn), times, strict=True))
    drawn_times = np.array([times_of[tuple(mask)] for mask in kept[1:]])
    assert chisquare(drawn_times, counts[1:] * drawn_times.sum() / counts[1:].sum()).pvalue > 1e-3


def test_all_masks_are_the_limit_of_drawn_ones_and_never_taken_unasked() -> None:
    text = [[7, 10, 11, 12, 13, 14, 15]]
    (every,) = explained(text, num_samples=200_000, masks="all")
    (drawn,) = explained(text, num_samples=200_000)
    assert every.coefficients == pytest.approx(drawn.coefficients, abs=0.003)
    assert not every.standard_errors.any() and drawn.standard_errors.all()
    with pytest.raises(InputError, match=r"has 15 tokens and so 2\^15 masks"):
        explained([[7, *[10] * 15]], num_samples=1000, masks="all")


def test_standard_errors_are_what_other_seeds_change() -> None:
    draws = []
    for seed in range(300):
        kept, counts = draw_masks(6, 200, seed)
        weights = kernel(kept.sum(axis=1), 6, 256)
        draws.append(Surrogate(kept, counts, weights, 1.0).fit(score(kept)[None])[:2])
    coefficients = np.array([d[0][0] for d in draws])
    estimated = np.array([d[1][0] for d in draws]).mean(axis=0)
    assert estimated == pytest.approx(coefficients.std(axis=0), rel=0.15)


def test_contributions_follow_their_tokens_and_not_their_places() -> None:
    forth, back = [7, 10, 11, 12, 13, 14, 15], [7, 15, 14, 13, 12, 11, 10]
    first, second = explained([forth, back], num_samples=20_000)
    assert first.coefficients == pytest.approx(second.coefficients[::-1], abs=0.01)
    assert int(np.argmax(first.coefficients)) == 4
    assert first.p_original == pytest.approx(float(score(np.ones(6))))
    assert first.p_masked == pytest.approx(float(score(np.zeros(6))))


def test_a_text_is_explained_the_same_in_any_company() -> None:
    texts = [[7, 10, 11, 14], [7, 12, 14], [7, 10, 14, 15], [7, 15, 13, 11, 10, 14]]
    names = ["a", "b", "c", "d"]
    settings = Explain(num_samples=50)
    common: dict[str, Any] = {"hidden_as": 9, "never_hidden": {7}, "settings": settings}
    together = explain_texts(predict, texts, names=names, **common)
    for text, name, shared in zip(texts, names, together, strict=True):
        (alone,) = explain_texts(predict, [text], names=[name], **common)
        assert alone.coefficients == pytest.approx(shared.coefficients, abs=1e-12)
        assert alone.standard_errors == pytest.approx(shared.standard_errors, abs=1e-12)


def test_another_seed_gives_other_masks() -> None:
    texts = [[7, 10, 11, 12, 13, 14, 15]]
    first, same, other = (explained(texts, num_samples=50, seed=s)[0] for s in (0, 0, 1))
    assert np.array_equal(first.coefficients, same.coefficients)
    assert not np.array_equal(first.coefficients, other.coefficients)


def test_texts_of_one_length_do_not_share_their_errors() -> None:
    """Equal texts under other names: their means over names come nearer to the truth."""
    texts = [[7, 10, 11, 12, 13, 14, 15]] * 64
    no_shrinkage = {"alpha": 1e-6}
    exact = explained(texts[:1], num_samples=100_000, **no_shrinkage)[0].coefficients
    errors = []
    for seed in range(10):
        explanations = explained(texts, num_samples=256, seed=seed, **no_shrinkage)
        errors.append(np.array([e.coefficients for e in explanations]) - exact)
    single = np.sqrt(np.mean(np.square(errors)))
    averaged = np.sqrt(np.mean(np.square(np.mean(errors, axis=1))))
    assert averaged < single / 3  # with the same columns for all texts it is all of it


def test_one_token() -> None:
    (explanation,) = explained([[7, 14]], num_samples=50)
    assert explanation.coefficients.shape == (1,)
    assert 0 < explanation.coefficients[0] < explanation.p_original - explanation.p_masked


def test_deleted_tokens_leave_shorter_texts() -> None:
    lengths: set[int] = set()

    def watched(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        lengths.add(rows.shape[1])
        assert not (rows == 9).any()
        return predict(rows)

    settings = Explain(num_samples=500)
    texts = [[7, 10, 11, 14], [7, 10, 11, 12, 14]]
    deleted = explain_texts(watched, texts, hidden_as=None, never_hidden={7}, settings=settings)
    assert lengths == {1, 2, 3, 4, 5}
    kept = explain_texts(predict, texts, hidden_as=9, never_hidden={7}, settings=settings)
    assert deleted[0].coefficients == pytest.approx(kept[0].coefficients)


class TestBadInput:
    def test_a_text_of_special_tokens(self) -> None:
        with pytest.raises(InputError, match=r"1 texts have no token to explain.*'1'"):
            explained([[7, 10], [7, 7]])

    def test_fewer_samples_than_tokens(self) -> None:
        with pytest.raises(InputError, match="num_samples 4 is too small for the 6 tokens of te"):
            explained([[7, 10], [7, 10, 11, 12, 13, 14, 15]], num_samples=4)

    def test_a_constant_classifier(self) -> None:
        def constant(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.full(len(rows), 0.25)

        with pytest.raises(InputError, match=r"every text the probability 0\.250"):
            explain_texts(constant, [[1, 2, 3], [4, 5]], hidden_as=0)

    def test_nothing_left_of_a_text(self) -> None:
        with pytest.raises(InputError, match=r"leaves nothing.*choose another replacement"):
            explain_texts(lambda rows: rows.sum(axis=1) / 100.0, [[1, 2, 3]], hidden_as=None)

    def test_the_error_of_an_unknown_method_lists_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"unknown method 'lme'. Did you mean 'lime'"):
            Explain.parse({"method": "lme"})

    def test_an_unknown_preset(self) -> None:
        with pytest.raises(InputError, match=r"unknown preset 'citrs'. Did you mean 'citrus'"):
            Explain.parse({"preset": "citrs"})

    def test_a_setting_of_another_method(self) -> None:
        with pytest.raises(InputError, match="method ig does not use num_samples, which lime uses"):
            Explain.parse({"method": "ig", "num_samples": 5})


def test_presets_are_spelt_out() -> None:
    lit = {"num_samples": 256, "kernel_width": 256, "alpha": 1, "replacement": "auto"}
    lit |= {"masks": "drawn", "seed": 0}
    assert Explain().resolved() == {"method": "lime", "rows": None, **lit}
    chosen = Explain(preset="lime", num_samples=100).resolved()
    assert (chosen["num_samples"], chosen["kernel_width"], chosen["replacement"]) == (
        100, 25, "delete",
    )  # fmt: skip
