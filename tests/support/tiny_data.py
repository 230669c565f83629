"""A learnable data set of few rows, and tiny checkpoints with tokenizers of its words."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pyarrow as pa

from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset

ARCHITECTURES = ("llama", "bert", "gpt_neox")


WORDS = {
    "en": (["carbon", "waste", "board", "climate"], ["goal", "match", "stocks", "bonds"]),
    "ja": (["炭素", "廃棄物", "取締役", "気候"], ["得点", "試合", "株式", "債券"]),
}


def make_dataset(num_rows: int = 60, seed: int = 0) -> Dataset:
    """``num_rows`` headlines a language, half positive, distinguished by one word each."""
    rng = random.Random(seed)
    rows = []
    for lang, (positive, negative) in WORDS.items():
        for number in range(num_rows):
            label = number % 2
            word = rng.choice(positive if label else negative)
            rows.append(
                {
                    "id": f"{lang}{number}",
                    "text": f"{number} {word} {rng.choice(positive + negative)} {number}",
                    "lang": lang,
                    "label": label,
                    "published": datetime.date(2022, 1, 1) + datetime.timedelta(days=number),
                    "source": "test",
                }
            )
    return Dataset.from_table(pa.Table.from_pylist(rows, schema=HEADLINE_SCHEMA))


def with_german(dataset: Dataset) -> Dataset:
    """The rows, and the Japanese ones once more as if they were German."""
    rows = dataset.table.to_pylist()
    german = [
        row | {"id": f"de{row['id'][2:]}", "lang": "de", "text": f"{row['text']} de"}
        for row in rows
        if row["lang"] == "ja"
    ]
    return Dataset.from_table(pa.Table.from_pylist(rows + german, schema=HEADLINE_SCHEMA))


def save_tiny_base(architecture: str, texts: list[str], folder: Path) -> None:
    from tiny_checkpoints import make_config, make_pretrained, save_tokenizer

    is_encoder = architecture == "bert"
    fast = save_tokenizer("encoder" if is_encoder else "decoder", texts, folder)
    ids = {"pad_token_id": 0} if is_encoder else {"bos_token_id": 1, "eos_token_id": 2}
    config = make_config(architecture, vocab_size=len(fast), **ids)
    make_pretrained(config).save_pretrained(folder)
