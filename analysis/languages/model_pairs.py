"""Differences of base models over languages, which other seeds and test rows would confirm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

from xlt.analysis.languages.gaps import Measured, correct, measure_difference
from xlt.analysis.languages.ranks import find_rankings
from xlt.analysis.languages.records import (
    describe_scores,
    format_difference,
    format_p,
    group_reasons,
    make_record,
    record_difference,
)
from xlt.analysis.languages.scores import LangScores
from xlt.analysis.tables.table import Table
from xlt.data.core.text import first_line
from xlt.trainables.spec.cell_key import CellKey


@dataclass(frozen=True)
class ModelPair:
    """Two base models of a pattern, over the languages in which both are ranked.

    Attributes:
        pattern: Name of the pattern.
        better: Base model with the better mean rank.
        other: The other base model.
        langs: Languages of the means.
        tested: Mean of ``better`` over the languages minus that of ``other``.
    """

    pattern: str
    better: str
    other: str
    langs: tuple[str, ...]
    tested: Measured


def find_model_pairs(scores: LangScores) -> list[ModelPair]:
    """Compare every two base models of a pattern by their means over languages.

    Languages are those of the ranks, as they are; draws, seeds and test rows are the sample. The
    p values of all pairs are corrected together.
    """
    cells = {cell.key: cell for cell in scores.cells}
    pairs: list[ModelPair] = []
    for ranking in find_rankings(scores):
        for names in combinations(ranking.models, 2):
            first, second = (cells[CellKey(name, ranking.pattern)].by_lang for name in names)
            share = 1 / len(ranking.langs)
            plus, minus = (
                [(share, by_lang[lang]) for lang in ranking.langs] for by_lang in (first, second)
            )
            tested = measure_difference(plus, minus, scores.method)
            pairs.append(ModelPair(ranking.pattern, *names, ranking.langs, tested))
    corrected = correct([pair.tested for pair in pairs])
    return [replace(pair, tested=own) for pair, own in zip(pairs, corrected, strict=True)]


def make_pair_table(scores: LangScores) -> Table | None:
    """Make the table of the differences of base models; None if no pattern has several."""
    pairs = find_model_pairs(scores)
    if not pairs:
        return None
    return Table(
        name=f"{scores.metric}-models",
        caption=(
            *describe_scores(scores),
            "Difference of the means of two base models over the languages of their ranks, with "
            "its 95 % interval over draws, seeds and test rows, for exactly these languages. Holm "
            "p: two-sided, of no difference, corrected for the differences of this table.",
        ),
        heading=("pattern", "base models", "languages", "difference", "Holm p"),
        lines=tuple(
            (
                first_line(pair.pattern), f"{first_line(pair.better)} - {first_line(pair.other)}",
                str(len(pair.langs)), format_difference(pair.tested), format_p(pair.tested),
            )
            for pair in pairs
        ),
        footnotes=tuple(group_reasons(
            "Not tested:",
            [(f"{pair.pattern}: {pair.better} - {pair.other}", pair.tested.why) for pair in pairs],
        )),
        records=tuple(
            make_record(
                "models", scores, base_model=f"{pair.better}:{pair.other}", pattern=pair.pattern,
                num_langs=len(pair.langs), **record_difference(pair.tested), note=pair.tested.why,
            )
            for pair in pairs
        ),
    )  # fmt: skip
