"""evaluate: test claims, with effects, intervals and p values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xlt.analysis.claims.cells import Cells
from xlt.analysis.claims.schema import Claim, ClaimPart, Claims
from xlt.analysis.uncertainty.differences import Difference
from xlt.analysis.uncertainty.multiplicity import holm
from xlt.data.core.errors import InputError

Verdict = Literal["supported", "contradicted", "undecided", "not evaluated"]


@dataclass(frozen=True)
class PartResult:
    """Result of one comparison in a claim.

    Attributes:
        part: The comparison.
        difference: First minus second; None if it is unknown, as are the next three.
        interval: Two-sided confidence interval, not corrected: at level 1 - alpha, or 1 - 2 alpha
            for equality, so that ``p_for`` < alpha if it lies inside the bounds of the part.
        p_for: p of the hypothesis that the part is false; small if the data support the part.
        p_against: p of the hypothesis that the opposite is false; small if they contradict it.
        missing: Why the difference is unknown; else empty.
    """

    part: ClaimPart
    difference: Difference | None = None
    interval: tuple[float, float] | None = None
    p_for: float | None = None
    p_against: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class ClaimResult:
    """Verdict on a claim.

    Attributes:
        claim: The claim.
        parts: Results of its comparisons.
        verdict: Verdict; "not evaluated" if a difference is unknown, or if metrics of cells cannot
            decide the claim.
        alone: Verdict without the correction for the number of claims.
        p: Corrected p of being contradicted if the claim is, else of being supported; None if it
            was not evaluated.
        missing: Why the claim was not evaluated; else empty.
    """

    claim: Claim
    parts: tuple[PartResult, ...]
    verdict: Verdict
    alone: Verdict
    p: float | None
    missing: str


def evaluate(claims: Claims, cells: Cells) -> list[ClaimResult]:
    """Test all claims of a file.

    A claim is supported if each of its parts is significant. This is an intersection-union test,
    whose p is the largest p of its parts, without correction for their number (Berger 1982,
    Technometrics 24:295). A claim is contradicted if one part is significant in the opposite
    direction, after Bonferroni's correction for its parts. Both p are then corrected by Holm's
    method for the claims that could be tested.

    Args:
        claims: Claims of a file.
        cells: Source of the differences.

    Returns:
        One result for each claim, in order.
    """
    tested = [
        tuple(_test(part, cells, claims.alpha) for part in claim.parts) for claim in claims.claims
    ]
    joined = [_joined(parts) for parts in tested]
    known = [p_values for p_values in joined if p_values is not None]
    supports = iter(holm([p_for for p_for, _ in known]))
    against = iter(holm([p_against for _, p_against in known]))
    results = []
    for claim, parts, alone in zip(claims.claims, tested, joined, strict=True):
        if alone is None:
            why = claim.outside or "; ".join(dict.fromkeys(p.missing for p in parts if p.missing))
            results.append(ClaimResult(claim, parts, "not evaluated", "not evaluated", None, why))
            continue
        p_for, p_against = next(supports), next(against)
        verdict = _verdict(p_for, p_against, claims.alpha)
        p = p_against if verdict == "contradicted" else p_for
        results.append(
            ClaimResult(claim, parts, verdict, _verdict(*alone, claims.alpha), p, missing="")
        )
    return results


def _test(part: ClaimPart, cells: Cells, alpha: float) -> PartResult:
    try:
        difference = cells.difference(part.metric, part.first, part.second)
    except InputError as error:
        return PartResult(part, missing=str(error))
    p_for, p_against = _p_values(part, difference)
    interval = difference.interval(2 * alpha if part.direction == "equal" else alpha)
    return PartResult(part, difference, interval, p_for, p_against)


def _p_values(part: ClaimPart, d: Difference) -> tuple[float, float]:
    """The p for and against a part; one-sided p are doubled, because both directions are tested.

    Equality within a margin is tested by two one-sided tests (Schuirmann 1987, Journal of
    Pharmacokinetics and Biopharmaceutics 15:657).
    """
    m = part.margin
    if part.direction == "equal":
        inside = max(d.p_not_above(-m), d.p_not_below(m))
        return inside, min(1.0, 2 * min(d.p_not_above(m), d.p_not_below(-m)))
    above, below = d.p_not_above, d.p_not_below
    if part.direction == "less":
        above, below, m = below, above, -m
    return min(1.0, 2 * above(m)), min(1.0, 2 * below(m))


def _joined(parts: Sequence[PartResult]) -> tuple[float, float] | None:
    """The p for and against a claim before Holm's correction; None without p of all parts."""
    p_for = [part.p_for for part in parts if part.p_for is not None]
    p_against = [part.p_against for part in parts if part.p_against is not None]
    if not parts or len(p_for) < len(parts):
        return None
    return max(p_for), min(1.0, len(parts) * min(p_against))


def _verdict(p_for: float, p_against: float, alpha: float) -> Verdict:
    if p_against < alpha:
        return "contradicted"
    return "supported" if p_for < alpha else "undecided"
