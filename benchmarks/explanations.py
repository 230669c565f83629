"""Count how many words that make a headline ESG are found by explanations.

    python benchmarks/explanations.py RESULTS [--method lime] [--against OTHER_RESULTS METHOD]

RESULTS holds an experiment on the built-in headlines whose trials were explained (`xlt explain`).
A token is a cue if it occurs in a concept of an ESG topic and in no concept of another topic
(data/corpora/lexicon.tsv). For each cell this prints how many of the 20 tokens with the highest
mean contribution are cues, of how many cues there are among the tokens in at least 5 texts, and the
number that a random order would have. With --against it also prints how well the rankings of each
text's tokens agree (Spearman, mean over texts of at least three tokens that are not flat), and how
many of the first ten tokens are shared.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

from xlt.analysis.attributions.cell import FLAT, CellAttributions
from xlt.analysis.attributions.collect import load_attributions
from xlt.analysis.trials.collect import collect
from xlt.data.corpora.phrases import load_phrasebook
from xlt.trainables.results.attributions import read_attributions
from xlt.trainables.results.result import Results
from xlt.trainables.spec.cell_key import CellKey

TOP = 20


def cues(tokens: tuple[str, ...]) -> np.ndarray:
    """Return which tokens are cues."""
    book = load_phrasebook()
    in_positive = " ".join(p.ja.lower() for t in book.positive_topics for p in book.topics[t])
    others = book.topics.keys() - book.positive_topics
    in_others = " ".join(p.ja.lower() for t in others for p in book.topics[t])
    names = [token.removeprefix("##").lower() for token in tokens]
    return np.array([name in in_positive and name not in in_others for name in names])


def agreement(
    results: Results, method: str, other: Results, other_method: str, trial_id: str
) -> float:
    """Return the mean Spearman correlation of the contributions within a text."""
    a = read_attributions(results, trial_id, method).table
    b = read_attributions(other, trial_id, other_method).table
    assert a is not None and b is not None, "explaining failed"
    rows = zip(
        a["coefficients"].to_pylist(), b["coefficients"].to_pylist(), a["total"].to_pylist(),
        strict=True,
    )  # fmt: skip
    correlations = [
        spearmanr(x, y).statistic
        for x, y, total in rows
        if len(x) > 2 and total > FLAT and np.ptp(x) and np.ptp(y)
    ]
    return float(np.mean(correlations))


def main() -> None:
    """Print a line per cell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("--method", default="lime")
    parser.add_argument("--against", nargs=2, metavar=("RESULTS", "METHOD"))
    options = parser.parse_args()
    collected = collect(options.results)
    read = load_attributions(collected, method=options.method)
    trials: dict[CellKey, list[str]] = {}
    for row in collected.table.to_pylist():
        trials.setdefault(CellKey(row["base_model"], row["pattern"]), []).append(row["trial_id"])
    other: Mapping[CellKey, CellAttributions] = {}
    if options.against:
        where = collect(options.against[0])
        other = load_attributions(where, method=options.against[1]).cells
    for key, cell in read.cells.items():
        is_cue = cues(cell.tokens)
        means = cell.means(cell.raw).mean(axis=0)
        num_cues = int(is_cue[np.argsort(-means)[:TOP]].sum())
        best = min(TOP, int(is_cue.sum()))
        line = f"{key.base_model:14} {key.pattern:6} cues in the top {TOP}: {num_cues}/{best}"
        line += f" (random {TOP * is_cue.mean():.1f})"
        if key in other:
            places = Results(options.results), Results(options.against[0])
            rho = [
                agreement(places[0], options.method, places[1], options.against[1], trial)
                for trial in trials[key]
            ]
            theirs = other[key].means(other[key].raw).mean(axis=0)
            shared = len({*np.argsort(-means)[:10]} & {*np.argsort(-theirs)[:10]})
            line += f"; Spearman {np.mean(rho):.2f}, {shared}/10 shared"
        print(line)


if __name__ == "__main__":
    main()
