"""Claims over cells, written in a YAML file and tested on results or on published tables."""

from analysis.claims.cells import PublishedCells, ResultCells
from analysis.claims.evaluate import ClaimResult, evaluate
from analysis.claims.schema import PAPER, Claims, parse_claims, shipped_claims

__all__ = [
    "PAPER",
    "ClaimResult",
    "Claims",
    "PublishedCells",
    "ResultCells",
    "evaluate",
    "parse_claims",
    "shipped_claims",
]
