"""Compare integrated gradients with captum's on a trained model.

    pip install captum                   # not among the project's requirements
    python benchmarks/captum_reference.py RESULTS TRIAL_ID

Prints the largest difference of any contribution on 20 headlines, with 16 points and the same
baseline.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients

from xlt.data.sources.registry import load_dataset, parse_source
from xlt.trainables.explain.classifier import make_target
from xlt.trainables.explain.explain_texts import explain_texts
from xlt.trainables.explain.target import Target
from xlt.trainables.explain.tokens import find_replacement_id, find_special_ids
from xlt.trainables.inference.kept_model import load_kept_model
from xlt.trainables.loading.batching import collate
from xlt.trainables.loading.tokenize import encode
from xlt.trainables.results.result import Results
from xlt.trainables.spec.explain import Explain


def main(results: str, trial_id: str) -> None:
    """Print the largest difference."""
    location = Results(results)
    spec = location.read_spec(trial_id)
    rows = load_dataset(parse_source({"source": "synthetic"})).table.slice(0, 20)
    base, model = load_kept_model(spec, location, 2)
    ids = encode(base, rows, 128)
    unknown, special = find_replacement_id(base.tokenizer, "auto"), find_special_ids(base.tokenizer)
    target = make_target(model, spec)
    assert isinstance(target, Target)  # two classes
    ours = explain_texts(
        target.predict, ids, hidden_as=unknown, never_hidden=special,
        settings=Explain(method="ig", num_steps=16), integrate=target.integrate,
    )  # fmt: skip
    pad, separator = model.config.pad_token_id, model.config.sep_token_id

    def probability(input_ids: torch.Tensor) -> torch.Tensor:
        batch = collate(input_ids.tolist(), pad, model.device, separator)
        logits: torch.Tensor = model(**{**batch, "input_ids": input_ids}).logits
        return logits.softmax(-1)[:, 1]

    captum = LayerIntegratedGradients(probability, model.get_input_embeddings())
    largest = 0.0
    for text, explanation in zip(ids, ours, strict=True):
        row = torch.tensor([text])
        hidden = torch.tensor([[t if t in special else unknown for t in text]])
        theirs = captum.attribute(row, baselines=hidden, n_steps=16).sum(-1)[0].detach().numpy()
        explained = [n for n, t in enumerate(text) if t not in special]
        largest = max(largest, float(np.abs(theirs[explained] - explanation.coefficients).max()))
    size = max(float(np.abs(e.coefficients).max()) for e in ours)
    print(f"{trial_id}: largest difference {largest:.1e}, largest contribution {size:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
