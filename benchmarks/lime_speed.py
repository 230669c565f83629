"""Compare the speed of LIME on token ids with the lime package and with LIT's LIME.

    pip install lime                     # not among the project's requirements
    python benchmarks/lime_speed.py RESULTS TRIAL_ID [--num-samples 256 5000] [--texts 8]

The trial must have kept its model. Four ways explain the same texts, cut to `--length` tokens, with
the same classifier on one thread (adapters merged, batches of 4,096 tokens), and with `<unk>` or
the mask token for a hidden token. They are ours, which computes common beginnings once; ours
without common beginnings and with the whole last layer; LimeTextExplainer of lime on space-joined
ids; and the algorithm of citrus/lime.py in LIT (one mask and one text at a time, scikit-learn's
Ridge), rewritten from its description. Prints milliseconds of CPU per text, the best of
`--repeats`, the share of them in the classifier, and the ratios to ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from lime.lime_text import LimeTextExplainer
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from xlt.data.sources.registry import load_dataset, parse_source
from xlt.trainables.explain.classifier import FORWARD_TOKENS, make_target, merge_adapters
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.explain.tokens import find_replacement_id, find_special_ids
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain
from xlt.trainables.training.loop import predict as predict_whole

Scorer = Callable[[np.ndarray], np.ndarray]
"""Function from token ids (texts x tokens) to probabilities."""


def citrus(predict: Scorer, ids: np.ndarray, unknown: int, num_samples: int) -> np.ndarray:
    """Explain one text by LIT's algorithm."""
    rng = np.random.default_rng(0)
    inner = len(ids) - 2
    masks = [np.ones(inner, dtype=bool)]
    for _ in range(num_samples):
        mask = np.ones(inner, dtype=bool)
        mask[rng.choice(inner, rng.integers(1, inner + 1), replace=False)] = False
        masks.append(mask)
    rows = []
    for mask in masks:
        row = ids.copy()
        row[1:-1][~mask] = unknown
        rows.append(row)
    scores = predict(np.stack(rows))
    data = np.stack(masks).astype(float)
    distances = 100 * pairwise_distances(data[:1], data, metric="cosine").ravel()
    weights = np.sqrt(np.exp(-(distances**2) / 25**2))
    fitted = Ridge(alpha=1).fit(data, scores, sample_weight=weights)
    coefficients: np.ndarray = fitted.coef_
    return coefficients


def lime_text(predict: Scorer, ids: np.ndarray, unknown: int, num_samples: int) -> None:
    """Explain one text by the lime package."""

    def of_texts(texts: list[str]) -> np.ndarray:
        rows = np.array([[int(word) for word in text.split(" ")] for text in texts])
        framed = [np.full(len(rows), ids[0])[:, None], rows, np.full(len(rows), ids[-1])[:, None]]
        p = predict(np.concatenate(framed, axis=1))
        return np.stack([1 - p, p], axis=1)

    explainer = LimeTextExplainer(
        split_expression=" ", bow=False, mask_string=str(unknown), random_state=0,
        feature_selection="none",
    )  # fmt: skip
    explainer.explain_instance(
        " ".join(map(str, ids[1:-1])), of_texts, labels=(1,), num_features=len(ids),
        num_samples=num_samples,
    )  # fmt: skip


def each(
    explain: Callable[..., object], predict: Scorer, texts: list[np.ndarray], unknown: int, num: int
) -> None:
    """Explain one text after the other."""
    for ids in texts:
        explain(predict, ids, unknown, num)


def main() -> None:
    """Print a line per length and number of samples."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("trial_id")
    parser.add_argument("--num-samples", type=int, nargs="+", default=[256, 5000])
    parser.add_argument("--length", type=int, nargs="+", default=[8, 24])
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    location = Results(options.results)
    spec = location.read_spec(options.trial_id)
    dataset = load_dataset(parse_source({"source": "synthetic"}))
    base, model = load_kept_model(spec, location, 2)
    torch.set_num_threads(1)
    in_classifier = 0.0

    def timed(predict: Scorer) -> Scorer:
        def run(rows: np.ndarray) -> np.ndarray:
            nonlocal in_classifier
            start = time.process_time()
            scores = predict(rows)
            in_classifier += time.process_time() - start
            return scores

        return run

    ours = timed(make_target(model, spec).predict)
    plain = merge_adapters(model)

    @timed
    def predict(rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = predict_whole(plain, rows, spec, FORWARD_TOKENS // rows.shape[1])
        return scores

    unknown = find_replacement_id(base.tokenizer, "auto")
    assert unknown is not None
    special = find_special_ids(base.tokenizer)
    explain = partial(explain_texts, hidden_as=unknown, never_hidden=special)
    encoded = encode(base, dataset.table.slice(0, 400), 128)
    inner = [t for ids in encoded for t in ids if t not in special]
    for length in options.length:
        # Texts of any length from the tokens of headlines.
        texts = [
            np.array([encoded[0][0], *inner[n * length : (n + 1) * length], encoded[0][-1]])
            for n in range(options.texts)
        ]
        for num in options.num_samples:
            settings = Explain(preset="citrus", num_samples=num)
            ways: dict[str, Callable[[], object]] = {
                "ours": partial(explain, ours, texts, settings=settings),
                "whole texts": partial(explain, predict, texts, settings=settings),
                "lime": partial(each, lime_text, predict, texts, unknown, num),
                "citrus": partial(each, citrus, predict, texts, unknown, num),
            }
            best = dict.fromkeys(ways, (float("inf"), 0.0))
            for _ in range(options.repeats):
                for name, way in ways.items():
                    in_classifier, start = 0.0, time.process_time()
                    way()
                    seconds = time.process_time() - start
                    best[name] = min(best[name], (seconds, in_classifier / seconds))
            times = ", ".join(
                f"{name} {s / options.texts * 1000:.1f} ms ({share:.0%})"
                for name, (s, share) in best.items()
            )
            shortest = best["ours"][0]
            ratios = ", ".join(f"{n} x{best[n][0] / shortest:.1f}" for n in ways if n != "ours")
            print(f"T={length} N={num}: a text: {times}; ours faster than {ratios}", flush=True)


if __name__ == "__main__":
    main()
