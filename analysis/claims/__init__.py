"""Claims over cells, written in a YAML file and tested on results or on published tables."""

from xlt.analysis.claims.cells import PublishedCells, ResultCells
from xlt.analysis.claims.evaluate import ClaimResult, evaluate
from xlt.analysis.claims.schema import PAPER, Claims, parse_claims, shipped_claims

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
