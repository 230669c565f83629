"""Tokenizers of the same kinds as those of the paper's base models, built here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fugashi
import pyarrow as pa
import pytest
import sentencepiece
import tokenizers
import torch
import transformers
from tiny_checkpoints import make_config, make_pretrained

from xlt.data.dataset.schema import Dataset
from xlt.trainables.explain.tokens import locate_tokens
from xlt.trainables.loading.base import Base, load_base
from xlt.trainables.loading.tokenize import count_truncated, encode
from xlt.trainables.models.weights_folder import check_files, read_checkpoint
from xlt.trainables.spec.explain import Explain
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial

CPU = torch.device("cpu")
MakeSpec = Callable[..., TrialSpec]
RARE = ["carbon 🌍", "髙橋", "naïve"]
"""Characters that no training text has."""


def save_model(folder: Path, architecture: str, vocab_size: int, **fields: Any) -> None:
    config = make_config(architecture, vocab_size=vocab_size, **fields)
    make_pretrained(config).save_pretrained(folder)


def write_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(values))


def save_llama(folder: Path, texts: list[str]) -> None:
    """Llama 2: sentencepiece BPE, unknown characters as bytes, no pad token."""
    (folder / "texts.txt").write_text("\n".join(texts))
    sentencepiece.SentencePieceTrainer.train(
        input=folder / "texts.txt", model_prefix=folder / "tokenizer", model_type="bpe",
        vocab_size=420, byte_fallback=True, character_coverage=1.0, hard_vocab_limit=False,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, minloglevel=2,
    )  # fmt: skip
    (folder / "texts.txt").unlink()
    (folder / "tokenizer.vocab").unlink()
    write_json(
        folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", bos_token="<s>",
        eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=False, legacy=False,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    save_model(folder, "llama", model.vocab_size(), bos_token_id=1, eos_token_id=2)


def save_extended_llama(folder: Path, texts: list[str]) -> None:
    """ELYZA: Llama's pieces and Japanese words after them, in one tokenizer.json."""
    save_llama(folder, texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["廃棄物", "取締役"])
    (folder / "tokenizer.model").unlink()
    tokenizer.save_pretrained(folder)
    save_model(folder, "llama", len(tokenizer), bos_token_id=1, eos_token_id=2)


def save_neox(folder: Path, texts: list[str]) -> None:
    """OpenCALM: byte-level BPE whose only special token begins, ends and stands for the unknown."""
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=400, special_tokens=["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "unk")}
    write_json(folder / "tokenizer_config.json", tokenizer_class="GPTNeoXTokenizer", **end)
    write_json(folder / "special_tokens_map.json", **end)
    save_model(folder, "gpt_neox", 400, bos_token_id=0, eos_token_id=0)


def save_wordpiece(folder: Path, texts: list[str]) -> None:
    """mBERT: cased WordPiece, of which older checkpoints have the list of pieces alone."""
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.train_from_iterator([*texts, "Carbon Board"], vocab_size=400)
    tokenizer.save_model(str(folder))
    write_json(folder / "tokenizer_config.json", do_lower_case=False)
    save_model(folder, "bert", tokenizer.get_vocab_size(), pad_token_id=0)


def save_japanese_bert(folder: Path, texts: list[str]) -> None:
    """Tohoku's BERT: words of MeCab with UniDic, then WordPiece."""
    tagger = fugashi.Tagger()
    words = {word.surface for text in texts for word in tagger(text)}
    pieces = sorted({piece for word in words for piece in (word, word[0], f"##{word[-1]}")})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *pieces]))
    write_json(
        folder / "tokenizer_config.json", do_lower_case=False, word_tokenizer_type="mecab",
        subword_tokenizer_type="wordpiece", mecab_kwargs={"mecab_dic": "unidic_lite"},
    )  # fmt: skip
    save_model(
        folder, "bert", len(special) + len(pieces), pad_token_id=0,
        tokenizer_class="BertJapaneseTokenizer",
    )  # fmt: skip


KINDS: dict[str, tuple[Callable[[Path, list[str]], None], str, str]] = {
    "llama2": (save_llama, "LlamaTokenizer", "<s>"),
    "elyza": (save_extended_llama, "LlamaTokenizer", "<s>"),
    "opencalm": (save_neox, "GPTNeoXTokenizer", "<|endoftext|>"),
    "mbert": (save_wordpiece, "BertTokenizer", "[PAD]"),
    "bert-ja": (save_japanese_bert, "BertJapaneseTokenizer", "[PAD]"),
}
"""Name of the paper's base model -> (how to build a similar one, class that reads it, pad
token)."""


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset) -> Any:
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            KINDS[name][0](folders[name], tiny_dataset.table["text"].to_pylist())
        return folders[name]

    return folder


@pytest.fixture
def load(make_folder: Callable[[str], Path], make_spec: MakeSpec) -> Callable[[str], Base]:
    def base(name: str) -> Base:
        return load_base(spec_of(name, make_folder(name), make_spec), CPU, torch.float32)

    return base


def spec_of(name: str, folder: Path, make_spec: MakeSpec) -> TrialSpec:
    architecture = "bert" if "bert" in name else "llama"
    return make_spec(architecture, base_path=str(folder), base_identity=f"test:tokenizer-{name}")


def rows_of(texts: list[str], pairs: list[str] | None = None) -> pa.Table:
    columns = {"id": [str(n) for n in range(len(texts))], "text": texts}
    return pa.table(columns | {"text_pair": pa.array(pairs or [None] * len(texts), pa.string())})


@pytest.mark.parametrize("name", KINDS)
def test_it_is_loaded_by_its_class_and_padded_as_the_files_tell(
    name: str, make_folder: Callable[[str], Path], load: Callable[[str], Base]
) -> None:
    _, reader, pad = KINDS[name]
    base = load(name)
    assert type(base.tokenizer).__name__ == reader
    assert base.tokenizer.pad_token == pad
    check_files(make_folder(name))
    checkpoint = read_checkpoint(make_folder(name))
    assert checkpoint.pad_token == pad
    assert checkpoint.kind == ("encoder" if "bert" in name else "decoder")


@pytest.mark.parametrize("name", KINDS)
def test_a_trial_runs_on_it(
    name: str, make_folder: Callable[[str], Path], make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    result = run_trial(spec_of(name, make_folder(name), make_spec), tiny_dataset)
    assert len(result.predictions) == 20
    assert result.execution["truncated_texts"] == {"train": 0, "test": 0}


@pytest.mark.parametrize("name", KINDS)
def test_long_texts_are_cut_and_keep_their_ends(name: str, load: Callable[[str], Base]) -> None:
    base = load(name)
    rows = rows_of(["carbon 炭素 " * 30, "carbon"], ["board " * 3, "carbon"])
    encoded = encode(base, rows, 24)
    assert [len(ids) == 24 for ids in encoded] == [True, False]
    assert count_truncated(base, rows, 24) == 1
    whole = base.tokenizer("carbon 炭素 " * 30, "board " * 3, verbose=False)["input_ids"]
    assert encoded[0][0] == whole[0] and encoded[0][-1] == whole[-1]


def test_sentencepiece_ids_are_those_of_sentencepiece(
    make_folder: Callable[[str], Path], load: Callable[[str], Base], tiny_dataset: Dataset
) -> None:
    reference = sentencepiece.SentencePieceProcessor(
        model_file=str(make_folder("llama2") / "tokenizer.model")
    )
    texts = [*tiny_dataset.table["text"].to_pylist(), *RARE, "two  spaces", "3.5 %"]
    encoded = encode(load("llama2"), rows_of(texts), 100)
    assert encoded == [[1, *reference.encode(text)] for text in texts]
    pieces = load("llama2").tokenizer.convert_ids_to_tokens(encoded[texts.index("carbon 🌍")])
    assert pieces[-4:] == ["<0xF0>", "<0x9F>", "<0x8C>", "<0x8D>"]


def test_an_extended_vocabulary_has_embeddings_of_its_own(load: Callable[[str], Base]) -> None:
    base = load("elyza")
    (ids,) = encode(base, rows_of(["廃棄物"]), 100)
    first = base.tokenizer.vocab_size
    assert ids[-1] == first == base.vocabulary - 2


@pytest.mark.parametrize("text", RARE)
def test_bytes_are_restored(text: str, load: Callable[[str], Base]) -> None:
    for name in ("llama2", "elyza", "opencalm"):
        base = load(name)
        (ids,) = encode(base, rows_of([text]), 100)
        assert base.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_case_is_kept(load: Callable[[str], Base]) -> None:
    upper, lower, unseen = encode(load("mbert"), rows_of(["Carbon", "carbon", "CARBON"]), 9)
    unknown = load("mbert").tokenizer.unk_token_id
    assert upper != lower
    assert unknown not in upper + lower
    assert unknown in unseen


def test_words_are_those_of_mecab(load: Callable[[str], Base], tiny_dataset: Dataset) -> None:
    base = load("bert-ja")
    text = "炭素 廃棄物 取締役の気候"
    (ids,) = encode(base, rows_of([text]), 100)
    pieces = base.tokenizer.convert_ids_to_tokens(ids)
    joined = " ".join(pieces[1:-1]).replace(" ##", "").replace("[UNK]", "の").split()
    assert joined == [word.surface for word in fugashi.Tagger()(text)]
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("炭素 廃棄物", ["", "炭素", "廃棄", "物", ""]),
        ("炭素　ﾎｶﾞ 気候", ["", "炭素", "ﾎｶﾞ", "気候", ""]),  # NFKC puts ガ together
        ("１ 炭素", ["", "１", "炭素", ""]),
    ],
)
def test_places_of_words_that_mecab_found(
    text: str, expected: list[str], load: Callable[[str], Base]
) -> None:
    tokenizer = load("bert-ja").tokenizer
    (whole,), (places,) = locate_tokens(tokenizer, [text], None, 100)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    assert len(places) == len(pieces)
    merged = [""]  # pieces of one word side by side
    for piece, (start, end) in zip(pieces[1:], places[1:], strict=True):
        if piece.startswith("##"):
            merged[-1] += whole[start:end]
        else:
            merged.append(whole[start:end])
    assert merged == expected


def test_a_trial_of_a_tokenizer_without_places_is_explained(
    make_folder: Callable[[str], Path], make_spec: MakeSpec, tiny_dataset: Dataset
) -> None:
    settings = Explain(method="occlusion")
    result = run_trial(
        spec_of("bert-ja", make_folder("bert-ja"), make_spec), tiny_dataset, explain=settings
    )
    assert result.attributions and result.attributions.table is not None
    for row in result.attributions.table.to_pylist():
        for piece, start, end in zip(row["pieces"], row["starts"], row["ends"], strict=True):
            shown = row["text"][start:end]
            assert shown.strip() and piece in ("[UNK]", shown, f"##{shown}")
