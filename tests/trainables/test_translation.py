"""Translations by local translators equal plain transformers, are cached, and resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from draw_rows import PLAIN, make_dataset, make_rows
from repository import ROOT
from tiny_translators import FORMS, save_translator

from xlt.data.core.errors import InputError
from xlt.data.dataset.schema import Dataset
from xlt.data.dataset.translations import Direction
from xlt.data.sources.translations.cache import Made, TranslationCache
from xlt.data.sources.translations.model import Translate
from xlt.trainables.translation.step import translate_rows
from xlt.trainables.translation.translator import Translator

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
CODES = {"nllb": ("eng_Latn", "jpn_Jpan"), "m2m100": ("en", "ja"), "mbart50": ("en_XX", "ja_XX")}
TEXTS = [
    "wind", "a b c", "風力 発電", "x", "8 7 6 5", "match 24", "z z z z", "long text " * 20,
]  # fmt: skip
MAX_LENGTH = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("translators")
    return lambda form: (
        root / form if (root / form).is_dir() else save_translator(form, root / form)
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    return tmp_path / "cache" / "translations"


def ask(folder: Path, **options: Any) -> Translate:
    values = {"model": str(folder), "from": "en", "to": "ja", "max_length": MAX_LENGTH}
    return Translate.parse(
        values | ({"prefix": "to ja: "} if folder.name == "t5" else {}) | options
    )


def translate(settings: Translate) -> dict[str, Made]:
    made: dict[str, Made] = {}
    for batch in Translator(settings).translate(TEXTS):
        assert len(batch) <= settings.batch_size
        made |= batch
    return made


def reference(form: str, folder: Path, num_beams: int) -> dict[str, tuple[str, bool]]:
    """Plain transformers, one text at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    options: dict[str, Any] = {}
    if form in CODES:
        tokenizer.src_lang, target = CODES[form]
        is_m2m = hasattr(tokenizer, "get_lang_id")
        find = tokenizer.get_lang_id if is_m2m else tokenizer.convert_tokens_to_ids
        options["forced_bos_token_id"] = find(target)
    expected = {}
    for text in TEXTS:
        prefixed = f"to ja: {text}" if form == "t5" else text
        inputs = tokenizer(prefixed, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            (tokens,) = model.generate(
                **inputs, num_beams=num_beams, do_sample=False, max_length=MAX_LENGTH, **options
            )
        written = tokenizer.decode(tokens, skip_special_tokens=True)
        # The small M2M100 does not mark its codes as special, as the published one does.
        expected[text] = written.removeprefix("__ja__"), len(tokens) == MAX_LENGTH
    return expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_batches_give_what_transformers_gives_one_by_one(
    form: str, num_beams: int, folders: Callable[[str], Path]
) -> None:
    folder = folders(form)
    expected = reference(form, folder, num_beams)
    assert len({text for text, _ in expected.values()}) > 1  # not the same for all texts
    made = translate(ask(folder, num_beams=num_beams, batch_size=4))
    assert {text: (m.text, m.was_cut) for text, m in made.items()} == expected
    assert [text for text, m in made.items() if m.source_was_cut] == [TEXTS[-1]]
    assert made == translate(ask(folder, num_beams=num_beams, batch_size=1))


def test_the_target_language_changes_the_translation(folders: Callable[[str], Path]) -> None:
    folder = folders("mbart50")
    assert translate(ask(folder)) != translate(ask(folder, to="de"))
    assert translate(ask(folder)) != translate(ask(folder, **{"from": "fr"}))
    assert translate(ask(folder)) == translate(ask(folder, codes={"ja": "ja_XX"}))
    assert translate(ask(folder)) == translate(ask(folder, to="ja-Hira"))
    assert Translator(ask(folder)).origin == Translator(ask(folder, batch_size=2)).origin


def test_the_origin_is_content_and_settings(folders: Callable[[str], Path], tmp_path: Path) -> None:
    plain = Translator(ask(folders("nllb"))).origin
    assert plain.startswith("sha256:") and plain.endswith(
        ' {"from": "eng_Latn", "to": "jpn_Jpan", "num_beams": 1, "max_length": 24, '
        '"precision": "fp32"}'
    )
    same = save_translator("nllb", tmp_path / "elsewhere")
    assert Translator(ask(same)).origin == plain
    other = save_translator("nllb", tmp_path / "other", seed=1)
    changed = [ask(other), ask(same, num_beams=2), ask(same, max_length=9), ask(same, to="de")]
    changed += [ask(same, prefix="p "), ask(same, precision="bf16")]
    assert len({plain, *(Translator(settings).origin for settings in changed)}) == 7


# --- the step -------------------------------------------------------------------------------


def test_rows_get_translations_and_a_report(folders: Callable[[str], Path]) -> None:
    settings = ask(folders("mbart50"), batch_size=7)
    seen: list[tuple[int, int]] = []
    dataset, report = translate_rows(PLAIN, settings, None, lambda *done: seen.append(done))
    found = dataset.translations.find(Direction("en", "ja"))
    texts = {row["id"]: row["text"] for row in PLAIN.table.to_pylist() if row["lang"] == "en"}
    made: dict[str, Made] = {}
    for batch in Translator(settings).translate(list(texts.values())):
        made |= batch
    nonempty = {i: made[text].text for i, text in texts.items() if made[text].text.strip()}
    assert {i: t.text for i, t in found.items()} == nonempty
    assert {t.origin for t in found.values()} == {Translator(settings).origin} == {report.origin}
    assert (report.num_rows, report.num_texts, report.num_cached) == (len(nonempty), 60, 0)
    assert report.num_empty == 60 - len(nonempty)
    assert report.num_cut == sum(m.was_cut for m in made.values()) and not report.num_sources_cut
    assert seen[0] == (0, 60) and seen[-1] == (60, 60) and len(seen) == 1 + 9  # batches of 7
    again, cached = translate_rows(PLAIN, settings)
    assert cached == replace(report, num_cached=60)
    assert again.translations.table.equals(dataset.translations.table)
    assert f"60 of them from the cache, by {report.origin}" in cached.describe()


def test_a_second_call_translates_what_is_left(folders: Callable[[str], Path]) -> None:
    settings = ask(folders("marian"))
    some, first = translate_rows(PLAIN, settings, {"en-001", "en-002", "ja-003"})
    assert (first.num_texts, first.num_rows) == (2, 2)
    both, second = translate_rows(some, settings)
    assert (second.num_texts, second.num_cached) == (58, 0)
    assert len(both.translations.table) == 60
    _, third = translate_rows(both, settings)
    assert (third.num_texts, third.num_rows) == (0, 0)
    one, _ = translate_rows(PLAIN, settings)
    assert one.translations.fingerprints == both.translations.fingerprints


def test_both_texts_of_a_pair_are_translated(folders: Callable[[str], Path]) -> None:
    rows = [{**row, "text_pair": f"second {row['id']}"} for row in make_rows(4)]
    dataset, report = translate_rows(make_dataset(rows), ask(folders("marian")))
    assert report.num_texts == 8
    for translated in dataset.translations.find(Direction("en", "ja")).values():
        assert translated.text and translated.text_pair


def test_empty_translations_are_none_and_counted(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: Translator, texts: list[str]) -> Iterator[dict[str, Made]]:
        yield {text: Made(" " * (text == "en text 3"), True, False) for text in texts}
        yield {text: Made("x" * (text != "en text 3"), True, False) for text in texts}

    monkeypatch.setattr(Translator, "translate", write)
    dataset, report = translate_rows(PLAIN, ask(folders("marian")))
    assert (report.num_rows, report.num_empty, report.num_sources_cut) == (59, 1, 60)
    assert "en-003" not in dataset.translations.find(Direction("en", "ja"))
    assert "1 rows have none, because the model wrote nothing" in report.describe()
    assert "60 texts were cut to 24 tokens before they were translated" in report.describe()


KILLED = """
import os, signal, sys
from draw_rows import PLAIN
from xlt.data.sources.translations.model import Translate
from xlt.trainables.translation.step import translate_rows
settings = Translate.parse({"model": sys.argv[1], "from": "en", "to": "ja", "max_length": 24,
                            "batch_size": 4})
num_batches = int(sys.argv[2])
def kill(num_done, num_texts):
    if num_done >= 4 * num_batches:
        os.kill(os.getpid(), signal.SIGKILL)
translate_rows(PLAIN, settings, None, kill)
"""


def test_a_killed_step_resumes(folders: Callable[[str], Path], cache: Path) -> None:
    folder = folders("mbart50")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"}
    command = [sys.executable, "-c", KILLED, str(folder), "3"]
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    (file,) = cache.iterdir()
    with file.open("ab") as stream:
        stream.write(b'["en text 59", "half a li')  # as a kill during a write leaves it
    dataset, report = translate_rows(PLAIN, ask(folder, batch_size=4))
    assert report.num_cached == 12
    file.unlink()
    whole, plain = translate_rows(PLAIN, ask(folder, batch_size=4))
    assert plain.num_cached == 0
    assert dataset.translations.table.equals(whole.translations.table)


def test_caches_of_translators_are_apart_and_survive_a_damaged_line(tmp_path: Path) -> None:
    made = {"a": Made("あ", False, True), "line\nbreak\u2028": Made("", True, False)}
    one = TranslationCache("one")
    one.add(made)
    assert (
        TranslationCache("one").translations == made == one.translations
        and not TranslationCache("two").translations
    )
    with one.file.open("ab") as stream:
        stream.write(b'["b", "half')
    TranslationCache("one").add({"c": Made("x", False, False)})
    assert TranslationCache("one").translations == made | {"c": Made("x", False, False)}


# --- bad input ------------------------------------------------------------------------------


def refuse(settings: Translate, match: str, dataset: Dataset = PLAIN) -> None:
    with pytest.raises(InputError, match=match):
        translate_rows(dataset, settings)


def test_what_a_model_does_not_know_is_refused(
    folders: Callable[[str], Path], tiny_base: Any, tmp_path: Path
) -> None:
    nllb, t5 = folders("nllb"), folders("t5")
    refuse(ask(nllb, **{"from": "de"}), "unknown language 'de'")
    refuse(
        ask(nllb, to="tlh"), r"no language 'tlh'; known, for example: .* set codes, e.g. \{tlh: "
    )
    refuse(ask(nllb, codes={"ja": "jpn"}), r"no language 'jpn'; known, for example: ")
    refuse(ask(nllb, max_length=65), "max_length 65 is more than the 64 tokens")
    refuse(ask(t5, prefix=None), "t5 reads its task in the text; set prefix")
    refuse(ask(t5, codes={"ja": "ja"}), "no codes of languages; remove codes, set prefix")
    refuse(ask(tiny_base("bert")), "bert is no encoder-decoder; give a translation model")
    refuse(ask(tmp_path / "none"), "no folder")
    Translator(ask(t5, prefix=""))


def test_a_translator_that_was_damaged_is_refused(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("nllb"), tmp_path / "damaged")
    translator = Translator(ask(folder))
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"translate, model .*damaged.*: cannot be loaded: files"):
        next(translator.translate(["wind"]))


def test_a_marian_model_of_several_languages_needs_a_prefix(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders("marian"), tmp_path / "many")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    for place, code in enumerate((">>jpn<<", ">>deu<<")):
        vocabulary[code] = vocabulary.pop("yz"[place])
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    refuse(ask(folder), "translates into 2 languages; set prefix to one of >>deu<<, >>jpn<<")
    one, other = (translate(ask(folder, prefix=f">>{c}<< ")) for c in ("jpn", "deu"))
    assert one != other
