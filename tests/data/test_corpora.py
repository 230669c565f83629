"""Corpora: no headlines, no test texts, and an identity that follows the content."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt.data.core.errors import InputError
from xlt.data.corpora.corpus import Corpus
from xlt.data.corpora.phrases import draw_one, draw_two, is_reserved, load_phrasebook
from xlt.data.corpora.registry import CORPORA, corpus_identity, load_corpus, parse_corpus
from xlt.data.dataset.schema import Dataset, text_key
from xlt.data.sources.registry import load_dataset
from xlt.data.sources.synthetic import Options as Synthetic

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [{"en": f"sentence {n}", "ja": f"文その{n}"} for n in range(40)] + [
        {"en": "x", "ja": ""}
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def load(values: dict[str, Any], dataset: Dataset, held_out: frozenset[str] = NOTHING) -> Corpus:
    return load_corpus(parse_corpus(values), dataset, held_out)


def small(name: str, pairs: Path) -> dict[str, Any]:
    return {
        "phrasebook": {"corpus": "phrasebook", "num_documents": 60, "num_mixed": 60},
        "parallel": {"corpus": "parallel", "path": str(pairs)},
    }[name]


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_is_the_same_again(name: str, pairs: Path, tiny_dataset: Dataset) -> None:
    corpus = load(small(name, pairs), tiny_dataset)
    assert corpus.table.equals(load(small(name, pairs), tiny_dataset).table)
    assert set(corpus.table["lang"].to_pylist()) == {"en", "ja", "mul"}
    assert all(text.strip() for text in corpus.table["text"].to_pylist())
    other = load(small(name, pairs) | {"seed": 1}, tiny_dataset)
    assert not corpus.table.equals(other.table)


def test_no_headline_is_in_a_document() -> None:
    dataset = load_dataset(Synthetic(num_source=400, num_target=400))
    headlines = set(dataset.table["text"].to_pylist())
    corpus = load({"corpus": "phrasebook", "num_documents": 400, "num_mixed": 400}, dataset)
    lines = [line for text in corpus.table["text"].to_pylist() for line in text.split("\n")[:-1]]
    assert len(lines) > 1000
    assert not headlines & set(lines)
    assert all(is_reserved(text) for text in headlines)
    assert not any(is_reserved(line) for line in lines)


def test_held_out_texts_never_enter(pairs: Path, tiny_dataset: Dataset) -> None:
    tested = tiny_dataset.table["text"].to_pylist()[:7]
    held_out = frozenset(map(text_key, [*tested, "Sentence  3", "文その4"]))
    before = load(small("parallel", pairs), tiny_dataset).table
    after = load(small("parallel", pairs), tiny_dataset, held_out).table
    assert len(before) - len(after) == 7 + 2
    lines = {text_key(line) for text in after["text"].to_pylist() for line in text.split("\n")}
    assert not lines & held_out


def test_identity_follows_contents_not_places(
    pairs: Path, tmp_path: Path, tiny_dataset: Dataset
) -> None:
    def identity(path: Path, fingerprint: str = "f", **options: Any) -> str:
        values = {"corpus": "parallel", "path": str(path)} | options
        return corpus_identity(parse_corpus(values), fingerprint)

    moved = tmp_path / "moved.parquet"
    moved.write_bytes(pairs.read_bytes())
    assert identity(moved) == identity(pairs)
    assert len({identity(pairs), identity(pairs, seed=1), identity(pairs, "g")}) == 3
    assert identity(pairs, "f", use_dataset=False) == identity(pairs, "g", use_dataset=False)
    pq.write_table(pa.table({"en": ["a"], "ja": ["b"]}), moved)
    assert identity(moved) != identity(pairs)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"num_documents": 1}, "corpus is required. Known: parallel, phrasebook."),
        ({"corpus": "phrasebok"}, "Did you mean 'phrasebook'"),
        ({"corpus": "parallel"}, "path: is required"),
        ({"corpus": "phrasebook", "num_document": 1}, "Did you mean 'num_documents'"),
    ],
)
def test_bad_options_are_reported(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_corpus(values)
    assert problem in str(caught.value)


def test_a_missing_column_is_reported(pairs: Path, tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="unknown column 'de'"):
        load(small("parallel", pairs) | {"languages": ["en", "de"]}, tiny_dataset)


def test_draws_are_those_of_python() -> None:
    ours, theirs = random.Random(7), random.Random(7)
    for size in range(2, 22):
        items = range(size)
        for _ in range(50):
            assert draw_one(ours, items) == theirs.choice(items)
            assert [*draw_two(ours, items)] == theirs.sample(items, 2)
    assert ours.getstate() == theirs.getstate()


def test_every_topic_has_so_few_concepts_that_they_are_drawn_as_python_draws_them() -> None:
    assert {len(concepts) for concepts in load_phrasebook().topics.values()} <= set(range(2, 22))
