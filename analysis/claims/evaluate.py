"""Claims -> supported, contradicted or undecided, with effects, intervals and p values."""

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
    """One comparison of a claim.

    Attributes:
        part: What was compared.
        difference: First less second; None where it cannot be known.
        interval: Two-sided at level 1 - alpha, not corrected; None like ``difference``.
        p_for: Small where the data speak for the part; None like ``difference``.
        p_against: Small where they speak for its opposite; None like ``difference``.
        missing: Why there is no difference, else empty.
    """

    part: ClaimPart
    difference: Difference | None = None
    interval: tuple[float, float] | None = None
    p_for: float | None = None
    p_against: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class ClaimResult:
    """A claim's verdict.

    Attributes:
        claim: What was claimed.
        parts: One a comparison.
        verdict: "not evaluated" where a part has no difference, or cells cannot decide it.
        alone: The verdict if it were the only claim of the file.
        p: Corrected for the claims of the file: of being contradicted where it is, else of being
            supported; None where not evaluated.
        missing: Why it was not evaluated, else empty.
    """

    claim: Claim
    parts: tuple[PartResult, ...]
    verdict: Verdict
    alone: Verdict
    p: float | None
    missing: str


def evaluate(claims: Claims, cells: Cells) -> list[ClaimResult]:
    """Test every claim of a file; one that cannot be tested says why and leaves the rest alone.

    A claim is supported if each of its parts is significant: an intersection-union test, whose p
    is the largest of its parts' and needs no correction for their number (Berger 1982,
    Technometrics 24, 295-300). It is contradicted if one part is significant the other way, after
    Bonferroni over its parts. Over the claims that could be tested both are corrected by Holm.

    Args:
        claims: The file.
        cells: What the differences come from.

    Returns:
        One result a claim, in order.
    """
    tested = [
        tuple(_test(part, cells, claims.alpha) for part in claim.parts) for claim in claims.claims
    ]
    joined = [_joined(parts) for parts in tested]
    able = [p_values for p_values in joined if p_values is not None]
    supports = iter(holm([p_for for p_for, _ in able]))
    against = iter(holm([p_against for _, p_against in able]))
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
    return PartResult(part, difference, difference.interval(alpha), p_for, p_against)


def _p_values(part: ClaimPart, d: Difference) -> tuple[float, float]:
    """(for, against). One-sided p are doubled where either outcome can be claimed.

    About equal is tested by two one-sided tests (Schuirmann 1987, J. Pharmacokinetics and
    Biopharmaceutics 15, 657-680): outside neither margin.
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
    """A claim's p (for, against) before Holm; None if a part has none, or there are no parts."""
    p_for = [part.p_for for part in parts if part.p_for is not None]
    p_against = [part.p_against for part in parts if part.p_against is not None]
    if not parts or len(p_for) < len(parts):
        return None
    return max(p_for), min(1.0, len(parts) * min(p_against))


def _verdict(p_for: float, p_against: float, alpha: float) -> Verdict:
    if p_against < alpha:
        return "contradicted"
    return "supported" if p_for < alpha else "undecided"
