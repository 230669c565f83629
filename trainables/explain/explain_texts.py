"""explain: texts to one explanation each, by any of EXPLAINERS and of any classifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from xlt.data.core.errors import InputError
from xlt.trainables.explain.faithfulness import Faithfulness, measure_faithfulness
from xlt.trainables.explain.masks import MOST_ENUMERATED, Predict
from xlt.trainables.explain.registry import EXPLAINERS
from xlt.trainables.explain.target import Explanation, Group, Integrate, Target, group_texts
from xlt.trainables.spec.explain import Explain

ROUNDING = 1e-9
"""Differences of probabilities below this come from rounding."""


def explain_texts(
    predict_fn: Predict,
    token_ids: Sequence[Sequence[int]],
    *,
    hidden_as: int | None,
    never_hidden: Collection[int] = (),
    settings: Explain | None = None,
    names: Sequence[str] | None = None,
    integrate: Integrate | None = None,
) -> list[Explanation]:
    """Explain the probability of class 1 of each text.

    Args:
        predict_fn: num_rows x length token ids, unpadded, to num_rows probabilities.
        token_ids: num_texts lists of ids, special tokens included.
        hidden_as: Token id that stands for a hidden token; None: it is deleted.
        never_hidden: Ids of special tokens, which stay where they are and are not explained.
        settings: Method and its numbers; ``rows`` and ``replacement`` are of no concern here.
            None: LIME as LIT has it.
        names: One a text, all different; a text's random numbers depend on its name and on no
            other text. None: the numbers of the texts.
        integrate: Gradients, needed by ``ig`` alone.

    Returns:
        One explanation a text, in order; the same for the same arguments.

    Raises:
        InputError: Texts without a token to explain, fewer samples than tokens, a classifier that
            gives every text and every masked text the same probability.
    """
    chosen = (settings or Explain()).resolved()
    names = [str(number) for number in range(len(token_ids))] if names is None else names
    groups = group_texts(names, token_ids, frozenset(never_hidden), hidden_as)
    _refuse_wrong_num_samples(chosen, groups)
    target = Target(predict_fn, integrate)
    made: dict[int, Explanation] = {}
    for numbers, group in groups:
        found = EXPLAINERS[chosen["method"]](target, group, chosen)
        made.update(zip(numbers, found, strict=True))
    explanations = [made[number] for number in range(len(token_ids))]
    _refuse_constant(explanations)
    return explanations


def measure_explanations(
    target: Target,
    token_ids: Sequence[Sequence[int]],
    explanations: Sequence[Explanation],
    *,
    hidden_as: int | None,
    never_hidden: Collection[int] = (),
    names: Sequence[str] | None = None,
) -> list[Faithfulness]:
    """How much a classifier uses the tokens that explanations rank first.

    Args:
        target: The classifier.
        token_ids: num_texts lists of ids.
        explanations: One a text, as :func:`explain_texts` made them of these arguments.
        hidden_as: As there.
        never_hidden: As there.
        names: As there.

    Returns:
        One a text, in order.
    """
    names = [str(number) for number in range(len(token_ids))] if names is None else names
    made: dict[int, Faithfulness] = {}
    for numbers, group in group_texts(names, token_ids, frozenset(never_hidden), hidden_as):
        found = measure_faithfulness(target, group, [explanations[n] for n in numbers])
        made.update(zip(numbers, found, strict=True))
    return [made[number] for number in range(len(token_ids))]


def _refuse_wrong_num_samples(
    settings: Mapping[str, Any], groups: Sequence[tuple[list[int], Group]]
) -> None:
    """Fewer masks than tokens cannot tell them apart, which ridge would hide; 2^T are many."""
    num_samples = settings.get("num_samples")
    if num_samples is None or not groups:
        return
    longest = max((group for _, group in groups), key=lambda group: group.positions.shape[1])
    num_tokens = longest.positions.shape[1]
    if num_samples <= num_tokens:
        raise InputError(
            f"num_samples {num_samples} is too small for the {num_tokens} tokens of text "
            f"{longest.names[0]}; give more than {num_tokens}, better ten times as many"
        )
    if settings["masks"] == "all" and num_tokens > MOST_ENUMERATED:
        raise InputError(
            f"text {longest.names[0]} has {num_tokens} tokens and so 2^{num_tokens} masks; all "
            f"masks can be had of up to {MOST_ENUMERATED}: draw them, or lower max_length"
        )


def _refuse_constant(explanations: Sequence[Explanation]) -> None:
    """A classifier that always says the same has nothing to explain."""
    if not explanations:
        return
    scores = np.array([(e.p_original, e.p_masked) for e in explanations])
    largest = max(float(np.abs(e.coefficients).max()) for e in explanations)
    if np.ptp(scores) < ROUNDING and largest < ROUNDING:
        raise InputError(
            f"the classifier gives every text the probability {scores[0, 0]:.3f}, hidden tokens "
            "or not: there is nothing to explain; look at its training loss"
        )
