"""Prompts on the tiny data, and their scores by plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from xlt.data.core.seeds import derive_seed
from xlt.data.dataset.draws import draw
from xlt.data.dataset.schema import Dataset
from xlt.trainables.results.trial_result import TrialResult
from xlt.trainables.spec.trial_spec import TrialSpec

TEMPLATE = "news: {text}\nlabel: "
PROMPT: dict[str, Any] = {
    "templates": {"ja": TEMPLATE},
    "label_words": {"ja": {"negative": "goal", "positive": "waste"}},
}


def few(rows: int) -> dict[str, Any]:
    return {"name": f"ja{rows}", "target_lang": "ja", "target_rows": rows, "source_rows": 0}


def read_scores(result: TrialResult) -> NDArray[np.float64]:
    return np.array(result.predictions["y_score"].to_pylist())


def drawn_rows(dataset: Dataset, spec: TrialSpec) -> tuple[list[Any], list[Any]]:
    drawn = draw(dataset, spec.source_lang, spec.pattern, spec.sampling, spec.draw_index)
    train, test = (dataset.rows(list(ids)).to_pylist() for ids in (drawn.target, drawn.test))
    return train, test


def shot_order(result: TrialResult) -> list[int]:
    """The order in which a trial shows its training rows."""
    rng = np.random.default_rng(derive_seed(result.spec.seed, "shots"))
    return [int(n) for n in rng.permutation(result.spec.pattern.target_rows)]


def plain_probabilities(
    folder: Path, prompts: list[str], words: list[str], *, special: bool = True
) -> NDArray[np.float64]:
    """Softmax over the label words' first tokens: each prompt alone, one whole forward pass."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    rows = []
    for prompt in prompts:
        ids = [tokenizer(prompt + w, add_special_tokens=special)["input_ids"] for w in words]
        same = next(i for i in range(len(ids[0])) if len({row[i] for row in ids}) > 1)
        with torch.inference_mode():
            logits = model(torch.tensor([ids[0][:same]])).logits[0, -1].double()
        rows.append(logits.log_softmax(-1)[[row[same] for row in ids]].softmax(-1))
    return torch.stack(rows).numpy()


def fill(row: dict[str, Any], template: str = TEMPLATE) -> str:
    return template.replace("{text}", row["text"]).replace("{text_pair}", row["text_pair"] or "")
