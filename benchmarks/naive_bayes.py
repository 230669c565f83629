"""Compute a baseline for an experiment's cells: character n-gram naive Bayes on target rows.

    python benchmarks/naive_bayes.py wikinews --set data.path=FILE --set pretraining.path=FILE

It uses no pre-training and no source language, so a base model should beat it. Prints Markdown.
"""

from __future__ import annotations

import argparse

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from xlt.data.dataset.draws import draw
from xlt.sweep.experiment.experiment import load_experiment
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.metrics.registry import score


def main() -> None:
    """Fit on the target rows of each pattern, and score on its test rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    experiment = load_experiment(options.experiment, options.settings)
    dataset = prepare(experiment).dataset
    print("| pattern | F1 | AUROC | accuracy |\n|---|---|---|---|")
    for pattern in experiment.patterns:
        if not pattern.target_rows:
            continue
        drawn = draw(dataset, experiment.task.source_lang, pattern, experiment.sampling)
        train, test = dataset.rows(list(drawn.target)), dataset.rows(list(drawn.test))
        model = make_pipeline(CountVectorizer(analyzer="char", ngram_range=(1, 3)), MultinomialNB())
        model.fit(train["text"].to_pylist(), train["label"].to_numpy())
        y_score = model.predict_proba(test["text"].to_pylist())[:, 1]
        scores = score(test["label"].to_numpy(), y_score)
        shown = " | ".join(f"{scores[name]:.3f}" for name in ("f1", "auroc", "accuracy"))
        print(f"| {pattern.name} | {shown} |")


if __name__ == "__main__":
    main()
