"""Languages in every spelling of data sets and users meet in one code."""

from __future__ import annotations

import string
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hub_folders import TEXTS

from xlt.data.core.errors import InputError
from xlt.data.dataset.languages import (
    AMBIGUOUS,
    TWO_LETTERS,
    _from_code,
    parse_language,
    same_language,
)
from xlt.data.dataset.patterns import parse_pattern_name
from xlt.data.dataset.schema import HEADLINE_SCHEMA, Dataset
from xlt.data.dataset.translations import TRANSLATION_SCHEMA, Direction, Translations
from xlt.data.sources.hub.presets import PRESETS
from xlt.data.sources.mrn.rules import Options as MrnOptions
from xlt.data.sources.prepared_store import PreparedData
from xlt.data.sources.reading import Reading
from xlt.data.sources.registry import load_dataset, parse_source
from xlt.data.sources.translations.model import Translate

NAMES = """
Acehnese (Arabic script)|ace_Arab Acehnese (Latin script)|ace_Latn Afrikaans|afr_Latn
Najdi Arabic|ars_Arab Egyptian Arabic|arz_Arab Modern Standard Arabic|arb_Arab Tamil|tam_Taml
Central Kurdish|ckb_Arab Northern Kurdish|kmr_Latn Greek|ell_Grek Haitian Creole|hat_Latn
Kashmiri (Arabic script)|kas_Arab Kashmiri (Devanagari script)|kas_Deva Korean|kor_Hang
Central Kanuri (Arabic script)|knc_Arab Central Kanuri (Latin script)|knc_Latn Akan|aka_Latn
Standard Latvian|lvs_Latn Halh Mongolian|khk_Cyrl Norwegian Nynorsk|nno_Latn Twi|twi_Latn
Norwegian Bokmål|nob_Latn Odia|ory_Orya Western Persian|pes_Arab Dari|prs_Arab Serbian|srp_Cyrl
Swahili|swh_Latn Tamasheq (Tifinagh script)|taq_Tfng Tagalog|tgl_Latn Uyghur|uig_Arab
Northern Uzbek|uzn_Latn Yue Chinese|yue_Hant Chinese (Simplified)|zho_Hans Scottish Gaelic|gla_Latn
Chinese (Traditional)|zho_Hant Standard Malay|zsm_Latn Japanese|jpn_Jpan Tosk Albanian|als_Latn
Meitei (Bengali script)|mni_Beng Nepali|npi_Deva Southwestern Dinka|dik_Latn Burmese|mya_Mymr
"""
"""Names and codes of the table in flores200/README.md of github.com/facebookresearch/flores."""
CLDR = {
    "jpn": "ja", "ja-JP": "ja", "JA": "ja", "ja_XX": "ja", "japanese": "ja", " Japanese ": "ja",
    "iw": "he", "in": "id", "jw": "jv", "mo": "ro", "tl": "fil", "cmn": "zh", "cmn-Hant": "zh-Hant",
    "arb": "ar", "zh": "zh", "Chinese": "zh", "Mandarin": "zh", "Simplified Chinese": "zh-Hans",
    "zh-CN": "zh-Hans", "zh_TW": "zh-Hant", "zh-Hant-HK": "zh-HK", "sr": "sr", "sr-Latn": "sr-Latn",
    "sr-Cyrl": "sr", "Serbian (Latin)": "sr-Latn", "sh-Cyrl": "sr", "hr": "hr", "no": "no",
    "Norwegian": "no", "nb": "nb", "nb-NO": "nb", "Latin": "la", "la": "la", "en-US": "en",
    "en-GB": "en-GB", "pt-PT": "pt-PT", "Portuguese (Brazil)": "pt", "es-419": "es-419",
    "Brazilian Portuguese": "pt", "de-1996": "de-1996", "und": "und", "mul": "mul", "mon": "mn",
}  # fmt: skip
"""Text -> code. Aliases, main languages of macrolanguages and likely subtags of the Unicode CLDR 46
(supplementalMetadata.xml, likelySubtags.xml)."""
FINGERPRINT = "e16f73e182e4a2dcc01b81132e1f883e1a65de3e8b91c927ce2b6309737e1dc2"
"""Fingerprint of :func:`canonical`, from the version that knew no other spellings."""


def canonical() -> pa.Table:
    langs = ("en", "ja", "zh-Hant", "zh-Hans", "sr-Latn", "es-419", "pt-PT", "yue", "nb")
    return pa.Table.from_pylist(
        [
            {
                "id": f"{lang}{n}",
                "text": f"text {lang} {n}",
                "lang": lang,
                "label": n,
                "source": "s",
            }
            for lang in langs
            for n in range(2)
        ]
    )


@pytest.mark.parametrize(("text", "code"), CLDR.items())
def test_spellings_of_a_language_have_one_code(text: str, code: str) -> None:
    assert parse_language(text) == code
    assert parse_language(code) == code
    assert same_language(text, code)


def test_codes_of_two_letters_are_those_of_langcodes() -> None:
    texts = ["".join(pair) for pair in product(string.ascii_lowercase, repeat=2)]
    codes = {text for text in texts if _from_code(text) == text} - AMBIGUOUS.keys()
    assert {text for text in texts if TWO_LETTERS.fullmatch(text)} == codes


def test_flores_codes_are_told_apart() -> None:
    """Every code of SIB-200 is another language, and a preset's key is the code of its config."""
    configs = PRESETS["sib200"]["configs"]
    assert len(set(configs.values())) == 205
    assert {parse_language(config): config for config in configs.values()} == configs


def test_names_and_codes_of_flores_meet() -> None:
    pairs = [text.rsplit("|", 1) for text in _split(NAMES)]
    assert len(pairs) > 40
    assert [parse_language(name) for name, _ in pairs] == [parse_language(c) for _, c in pairs]


def _split(text: str) -> list[str]:
    """Split names from codes: a code ends in a script of four letters."""
    parts, words = [], list[str]()
    for word in text.split():
        words.append(word)
        if "|" in word:
            parts.append(" ".join(words))
            words = []
    return parts


@pytest.mark.parametrize("name", PRESETS)
def test_presets_write_languages_as_codes(name: str) -> None:
    for code, config in PRESETS[name]["configs"].items():
        assert parse_language(code) == code
        if isinstance(config, dict):  # MultiFin's names
            assert parse_language(config["lang"]) == code


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sh", r"language 'sh' may be bs \(Bosnian\), hr \(Croatian\), sr \(Serbian\), sr-Latn "),
        ("hbs", "may be bs"),
        ("Serbo-Croatian", "language 'Serbo-Croatian' may be bs"),
        ("Mon", r"'Mon' may be mn \(Mongolian\), mnw \(Mon\); write one of these codes"),
        ("Ga", r"'Ga' may be ga \(Irish\), gaa \(Ga\)"),
        ("Sami", r"not the English name of one language; perhaps .*\(smn\).* and \d more"),
        ("Japanse", r"not the English name of one language; perhaps Japanese \(ja\)"),
        ("xx", "language 'xx' is not a BCP-47 code such as en or zh-Hant, and not the English"),
        ("Foo (Latin)", "not a BCP-47 code"),
        ("Japanese (Foo)", "not a BCP-47 code"),
        ("English-Japanese", "not a BCP-47 code"),
        ("x-private", "not a BCP-47 code"),
        ("日本語", "not a BCP-47 code"),
        ("", "not a BCP-47 code"),
    ],
)
def test_unclear_languages_are_refused_with_candidates(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_language(text)


def test_data_sets_with_codes_keep_their_fingerprint() -> None:
    dataset = Dataset.from_table(canonical())
    assert dataset.fingerprint == FINGERPRINT
    assert dataset.table["lang"].to_pylist() == canonical()["lang"].to_pylist()


SPELLED = {"en": ("English", "eng_Latn", "en-US"), "ja": ("Japanese", "jpn_Jpan", "ja-JP")}


def _write(path: Path, spelling: int | None) -> str:
    lines = ["text,lang,label,日本"]
    for lang in ("en", "ja"):
        spelled = lang if spelling is None else SPELLED[lang][spelling]
        lines += [
            f"{text},{spelled},{'yes' if n else 'no'}," for n, text in enumerate(TEXTS[lang][:2])
        ]
    lines[1] += "風"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def _table(path: str, **options: Any) -> Dataset:
    return load_dataset(
        parse_source({"source": "table", "path": path, "positive": ["yes"], **options})
    )


@pytest.mark.parametrize("spelling", [0, 1, 2])
def test_files_with_other_spellings_are_the_same_data_set(tmp_path: Path, spelling: int) -> None:
    """Ids are made of the cells; they and the translations do not depend on the spelling."""
    usual = _table(_write(tmp_path / "usual.csv", None), columns={"translations": {"ja": "日本"}})
    columns = {"translations": {SPELLED["ja"][spelling]: "日本"}}
    spelled = _table(_write(tmp_path / "spelled.csv", spelling), columns=columns)
    assert spelled.fingerprint == usual.fingerprint
    assert list(spelled.by_lang) == ["en", "ja"]
    assert spelled.translations.table.drop(["origin"]) == usual.translations.table.drop(["origin"])
    assert [str(d) for d in spelled.translations.by_direction] == ["en -> ja"]


def test_a_mapping_names_a_language_once(tmp_path: Path) -> None:
    columns = {"translations": {"ja": "日本", "jpn": "label"}}
    with pytest.raises(InputError, match="'jpn' is ja, which another key is, too; remove one"):
        _table(_write(tmp_path / "a.csv", None), columns=columns)


def test_settings_of_sources_take_any_spelling() -> None:
    hub = {"source": "hub", "preset": "sib200", "languages": ["jpn_Jpan", "English", "ja"]}
    options: Any = parse_source(hub)
    assert {lang: c.config for lang, c in options.chosen().items()} == {
        "ja": "jpn_Jpan", "en": "eng_Latn",
    }  # fmt: skip
    mrn = {"source": "mrn", "path": "a", "positive": ["N2:ESG"], "languages": ["eng", "Japanese"]}
    assert MrnOptions.parse(mrn).languages == ("en", "ja")
    block = {"model": "m", "from": "English", "to": "jpn", "codes": {"Japanese": "jpn_Jpan"}}
    translate = Translate.parse(block)
    assert (translate.direction, translate.codes) == (("en", "ja"), {"ja": "jpn_Jpan"})


def test_prepared_data_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They may have other spellings, which once were codes like any other."""
    row = {"id": "1", "text": "a", "lang": "eng", "label": 0, "source": "s"}
    rows = pa.Table.from_pylist([row], HEADLINE_SCHEMA)
    translated = {"id": "1", "source_lang": "eng", "lang": "jpn-Jpan", "text": "あ", "origin": "m"}
    translations = Translations(pa.Table.from_pylist([translated], TRANSLATION_SCHEMA))
    store = PreparedData(str(tmp_path))
    store.save(Reading(Dataset(rows, translations=translations)), {"source": "table"})
    dataset = store.load()
    assert list(dataset.by_lang) == ["en"]
    assert dataset.translations.find(Direction("en", "ja"))["1"].text == "あ"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("jpn_Jpan16", "ja16"), ("Japanese16", "ja16"), ("ja-JP0+tt", "ja0+tt"),
     ("zho_Hant16", "zh-Hant16"), ("Chinese (Traditional)104", "zh-Hant104"), ("cmn16", "zh16")],
)  # fmt: skip
def test_patterns_have_the_name_of_the_code(name: str, meant: str) -> None:
    assert parse_pattern_name(name) == parse_pattern_name(meant)
    assert parse_pattern_name(name).name == meant
