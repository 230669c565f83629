"""Source languages of the cells of an experiment, for captions."""

from __future__ import annotations

from xlt.data.core.text import first_line
from xlt.data.dataset.source_langs import join_source_langs
from xlt.trainables.results.plan import Plan


def describe_source_langs(plan: Plan) -> tuple[str, ...]:
    """Sentence for captions on the source languages; none if the patterns do not name them."""
    named = {cell.pattern: join_source_langs(cell.source_langs) for cell in plan.cells}
    if not any(named.values()):
        return ()
    others = [
        f"{first_line(pattern)}: {langs or 'no source rows'}"
        for pattern, langs in named.items()
        if not (langs and pattern.startswith(f"{langs}:"))
    ]
    return (
        "A pattern begins with the language of its source rows"
        + (f"; {', '.join(others)}" if others else "")
        + ". A base model that does not know it trains on target rows alone.",
    )
