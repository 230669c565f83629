"""Explain texts: one explanation per text, by any method of EXPLAINERS, for any classifier."""

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
"""Differences of probabilities below this value are rounding errors."""


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
    """Explain each text's probability of class 1, or of the class that ``predict_fn`` gives.

    Args:
        predict_fn: Function from num_rows x length unpadded token ids to num_rows probabilities.
        token_ids: num_texts lists of ids, special tokens included.
        hidden_as: Token id that replaces a hidden token; None deletes the token.
        never_hidden: Ids of special tokens, which are never hidden and not explained.
        settings: Method and its numbers; ``rows`` and ``replacement`` are ignored. None means LIME
            with LIT's settings.
        names: Unique names of the texts. A text's random numbers depend on its name and on no other
            text. None means the numbers of the texts.
        integrate: Integrated gradients of the classifier, needed only by ``ig``.

    Returns:
        One explanation per text, in order; equal arguments give equal explanations.

    Raises:
        InputError: A text has no token to explain, there are fewer samples than tokens, or the
            classifier gives every text and every masked text the same probability.
    """
    return explain_targets(
        [Target(predict_fn, integrate)] * len(token_ids),
        token_ids,
        hidden_as=hidden_as,
        never_hidden=never_hidden,
        settings=settings,
        names=names,
    )


def explain_targets(
    targets: Sequence[Target],
    token_ids: Sequence[Sequence[int]],
    *,
    hidden_as: int | None,
    never_hidden: Collection[int] = (),
    settings: Explain | None = None,
    names: Sequence[str] | None = None,
) -> list[Explanation]:
    """Explain each text's score by a target of its own; see :func:`explain_texts`.

    Args:
        targets: num_texts targets; texts of one target are explained together.
        token_ids: num_texts lists of ids, special tokens included.
        hidden_as: Token id that replaces a hidden token; None deletes the token.
        never_hidden: Ids of special tokens.
        settings: Method and its numbers.
        names: Unique names of the texts.
    """
    resolved = (settings or Explain()).resolved()
    groups = _group_by_target(targets, token_ids, never_hidden, hidden_as, names)
    _refuse_wrong_num_samples(resolved, [group for _, _, group in groups])
    by_number: dict[int, Explanation] = {}
    for target, numbers, group in groups:
        group_explanations = EXPLAINERS[resolved["method"]](target, group, resolved)
        by_number.update(zip(numbers, group_explanations, strict=True))
    explanations = [by_number[number] for number in range(len(token_ids))]
    _refuse_constant(explanations)
    return explanations


def measure_explanations(
    targets: Sequence[Target],
    token_ids: Sequence[Sequence[int]],
    explanations: Sequence[Explanation],
    *,
    hidden_as: int | None,
    never_hidden: Collection[int] = (),
    names: Sequence[str] | None = None,
) -> list[Faithfulness]:
    """Measure how much a classifier uses the tokens that explanations rank first.

    Args:
        targets: num_texts targets.
        token_ids: num_texts lists of ids.
        explanations: One explanation per text, made by :func:`explain_targets` with these
            arguments.
        hidden_as: Token id that replaces a hidden token; None deletes the token.
        never_hidden: Ids of special tokens, which are never hidden.
        names: Unique names of the texts; None means their numbers.

    Returns:
        One measurement per text, in order.
    """
    by_number: dict[int, Faithfulness] = {}
    for target, numbers, group in _group_by_target(
        targets, token_ids, never_hidden, hidden_as, names
    ):
        measured = measure_faithfulness(target, group, [explanations[n] for n in numbers])
        by_number.update(zip(numbers, measured, strict=True))
    return [by_number[number] for number in range(len(token_ids))]


def _group_by_target(
    targets: Sequence[Target],
    token_ids: Sequence[Sequence[int]],
    never_hidden: Collection[int],
    hidden_as: int | None,
    names: Sequence[str] | None,
) -> list[tuple[Target, list[int], Group]]:
    """Group texts of one target and equal length, with their numbers."""
    names = [str(number) for number in range(len(token_ids))] if names is None else names
    own: dict[int, list[int]] = {}
    for number, target in enumerate(targets):
        own.setdefault(id(target), []).append(number)
    return [
        (targets[members[0]], [members[n] for n in numbers], group)
        for members in own.values()
        for numbers, group in group_texts(
            [names[n] for n in members],
            [token_ids[n] for n in members],
            frozenset(never_hidden),
            hidden_as,
        )
    ]


def _refuse_wrong_num_samples(settings: Mapping[str, Any], groups: Sequence[Group]) -> None:
    """Raise InputError for fewer samples than tokens, or for all 2^T masks of a long text.

    Fewer masks than tokens cannot distinguish the tokens, and the ridge penalty would hide that.
    """
    num_samples = settings.get("num_samples")
    if num_samples is None or not groups:
        return
    longest = max(groups, key=lambda group: group.positions.shape[1])
    num_tokens = longest.positions.shape[1]
    if num_samples <= num_tokens:
        raise InputError(
            f"num_samples {num_samples} is too small for the {num_tokens} tokens of text "
            f"{longest.names[0]}; give more than {num_tokens}, better ten times as many"
        )
    if settings["masks"] == "all" and num_tokens > MOST_ENUMERATED:
        raise InputError(
            f"text {longest.names[0]} has {num_tokens} tokens and so 2^{num_tokens} masks; `all` "
            f"takes up to {MOST_ENUMERATED} tokens: set masks to `drawn`, or lower max_length"
        )


def _refuse_constant(explanations: Sequence[Explanation]) -> None:
    """Raise InputError if the classifier gives every text the same probability."""
    if not explanations:
        return
    scores = np.array([(e.p_original, e.p_masked) for e in explanations])
    largest = max(float(np.abs(e.coefficients).max()) for e in explanations)
    if np.ptp(scores) < ROUNDING and largest < ROUNDING:
        raise InputError(
            f"the classifier gives every text the probability {scores[0, 0]:.3f}, with or without "
            "hidden tokens: there is nothing to explain; look at its training loss"
        )
