"""PRESETS: public data sets in several languages, described as on their cards of the hub.

The presets download nothing. The user of a data set must respect its licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Preset = Mapping[str, Any]
"""Options of the source ``hub`` -> their defaults for a data set."""

PARQUET_BRANCH = "refs/convert/parquet"
"""Branch with the hub's own Parquet copy of a data set, which has a folder for each config."""

_FLORES = (
    "ar=arb_Arab bg=bul_Cyrl bn=ben_Beng da=dan_Latn de=deu_Latn el=ell_Grek en=eng_Latn "
    "es=spa_Latn fi=fin_Latn fr=fra_Latn he=heb_Hebr hi=hin_Deva hu=hun_Latn id=ind_Latn "
    "is=isl_Latn it=ita_Latn ja=jpn_Jpan ko=kor_Hang nb=nob_Latn nl=nld_Latn pl=pol_Latn "
    "pt=por_Latn ru=rus_Cyrl sv=swe_Latn sw=swh_Latn ta=tam_Taml th=tha_Thai tr=tur_Latn "
    "uk=ukr_Cyrl ur=urd_Arab vi=vie_Latn yo=yor_Latn zh-Hans=zho_Hans zh-Hant=zho_Hant"
)
_LOCALES = (
    "af-ZA am-ET ar-SA az-AZ bn-BD cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL "
    "hi-IN hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN "
    "ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH "
    "tl-PH tr-TR ur-PK vi-VN"
)
_MULTIFIN = (
    "da=Danish el=Greek en=English es=Spanish fi=Finnish he=Hebrew hu=Hungarian is=Icelandic "
    "it=Italian ja=Japanese no=Norwegian pl=Polish ru=Russian sv=Swedish tr=Turkish"
)
_XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
_PAWSX = "de en es fr ja ko zh"


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


SIB200: Preset = {
    "dataset": "Davlan/sib200",
    "configs": _pairs(_FLORES),
    "columns": {"text": "text", "label": "category", "story": "index_id"},
    "classes": "all",
}
"""SIB-200 (Adelani et al., EACL 2024): the topic of a sentence, one of 7; CC BY-SA 4.0.

The sentences are those of FLORES-200, the same in every language; ``index_id`` is the number of a
sentence. The card has 205 languages; ``configs`` can name the others."""

MULTIFIN: Preset = {
    "dataset": "awinml/MultiFin",
    "configs": {
        code: {"config": "all_languages_highlevel", "lang": name}
        for code, name in _pairs(_MULTIFIN).items()
    },
    "columns": {"text": "text", "label": "label", "lang": "lang"},
    "classes": "all",
}
"""MultiFin (Joergensen et al., Findings of EACL 2023): headlines about finance; CC BY-NC 4.0.

15 languages, 6 topics (Business & Management, Finance, Government & Controls, Industry,
Tax & Accounting, Technology). One config has all languages; ``lang`` spells them in English."""

MASSIVE: Preset = {
    "dataset": "AmazonScience/massive",
    "revision": PARQUET_BRANCH,
    "configs": {locale.split("-")[0]: locale for locale in _LOCALES.split()}
    | {"zh-Hans": "zh-CN", "zh-Hant": "zh-TW"},
    "columns": {"text": "utt", "label": "scenario", "story": "id"},
    "classes": "all",
}
"""MASSIVE 1.0 (FitzGerald et al., ACL 2023): requests to a voice assistant; CC BY 4.0.

51 languages, 18 scenarios; ``columns: {label: intent}`` selects its 60 intents. The utterances are
localised from English ones, whose number is ``id``. The main branch holds a script, which is never
run; the hub's own Parquet copy is read instead."""

XNLI: Preset = {
    "dataset": "facebook/xnli",
    "configs": {code: code for code in _XNLI.split()},
    "columns": {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    "parallel": True,
    "classes": "all",
}
"""XNLI (Conneau et al., EMNLP 2018): whether a premise entails a hypothesis; CC BY-NC 4.0.

15 languages without Japanese; entailment, neutral, contradiction. The rows of a split are
translations of each other, in the same order. Training rows are machine translations."""

PAWSX: Preset = {
    "dataset": "google-research-datasets/paws-x",
    "configs": {code: code for code in _PAWSX.split()},
    "columns": {"text": "sentence1", "text_pair": "sentence2", "label": "label", "story": "id"},
    "parallel": True,
    "drop_empty": True,
    "positive": ["1"],
}
"""PAWS-X (Yang et al., EMNLP 2019): whether two sentences of the same words have one meaning.

7 languages; free for any purpose, and Google LLC asks to be named as the source. ``id`` starts from
1 in every split, and is the same for the translations of a pair. Some sentences are empty."""

PRESETS: dict[str, Preset] = {
    "massive": MASSIVE,
    "multifin": MULTIFIN,
    "pawsx": PAWSX,
    "sib200": SIB200,
    "xnli": XNLI,
}
"""Name -> default options."""
