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
    "ace=ace_Latn ace-Arab=ace_Arab acm-Arab=acm_Arab acq-Arab=acq_Arab aeb=aeb_Arab af=afr_Latn "
    "ajp-Arab=ajp_Arab ak=aka_Latn am=amh_Ethi apc=apc_Arab ar=arb_Arab ar-Latn=arb_Latn "
    "ars=ars_Arab ary=ary_Arab arz=arz_Arab as=asm_Beng ast=ast_Latn awa=awa_Deva ay=ayr_Latn "
    "az=azj_Latn azb-Arab=azb_Arab ba=bak_Cyrl ban=ban_Latn be=bel_Cyrl bem=bem_Latn bg=bul_Cyrl "
    "bho=bho_Deva bjn=bjn_Latn bjn-Arab=bjn_Arab bm=bam_Latn bn=ben_Beng bo=bod_Tibt bs=bos_Latn "
    "bug=bug_Latn ca=cat_Latn ceb=ceb_Latn cjk=cjk_Latn ckb=ckb_Arab crh-Latn=crh_Latn "
    "cs=ces_Latn cy=cym_Latn da=dan_Latn de=deu_Latn din=dik_Latn dyu=dyu_Latn dz=dzo_Tibt "
    "ee=ewe_Latn el=ell_Grek en=eng_Latn eo=epo_Latn es=spa_Latn et=est_Latn eu=eus_Latn "
    "fa=pes_Arab fa-AF=prs_Arab fi=fin_Latn fil=tgl_Latn fj=fij_Latn fo=fao_Latn fon=fon_Latn "
    "fr=fra_Latn fur=fur_Latn fuv=fuv_Latn ga=gle_Latn gd=gla_Latn gl=glg_Latn gn=grn_Latn "
    "gu=guj_Gujr ha=hau_Latn he=heb_Hebr hi=hin_Deva hne=hne_Deva hr=hrv_Latn ht=hat_Latn "
    "hu=hun_Latn hy=hye_Armn id=ind_Latn ig=ibo_Latn ilo=ilo_Latn is=isl_Latn it=ita_Latn "
    "ja=jpn_Jpan jv=jav_Latn ka=kat_Geor kab=kab_Latn kac=kac_Latn kam=kam_Latn kbp=kbp_Latn "
    "kea=kea_Latn kg=kon_Latn ki=kik_Latn kk=kaz_Cyrl km=khm_Khmr kmb=kmb_Latn kn=kan_Knda "
    "ko=kor_Hang kr=knc_Latn kr-Arab=knc_Arab ks=kas_Arab ks-Deva=kas_Deva ku=kmr_Latn "
    "ky=kir_Cyrl lb=ltz_Latn lg=lug_Latn li=lim_Latn lij=lij_Latn lmo=lmo_Latn ln=lin_Latn "
    "lo=lao_Laoo lt=lit_Latn ltg=ltg_Latn lua=lua_Latn luo=luo_Latn lus=lus_Latn lv=lvs_Latn "
    "mag=mag_Deva mai=mai_Deva mg=plt_Latn mi=mri_Latn min=min_Latn min-Arab=min_Arab mk=mkd_Cyrl "
    "ml=mal_Mlym mn=khk_Cyrl mni=mni_Beng mos=mos_Latn mr=mar_Deva ms=zsm_Latn mt=mlt_Latn "
    "my=mya_Mymr nb=nob_Latn ne=npi_Deva nl=nld_Latn nn=nno_Latn nqo=nqo_Nkoo nso=nso_Latn "
    "nus=nus_Latn ny=nya_Latn oc=oci_Latn om=gaz_Latn or=ory_Orya pa=pan_Guru pag=pag_Latn "
    "pap=pap_Latn pbt-Arab=pbt_Arab pl=pol_Latn pt=por_Latn quy=quy_Latn rn=run_Latn ro=ron_Latn "
    "ru=rus_Cyrl rw=kin_Latn sa=san_Deva sat=sat_Olck sc=srd_Latn scn=scn_Latn sd=snd_Arab "
    "sg=sag_Latn shn=shn_Mymr si=sin_Sinh sk=slk_Latn sl=slv_Latn sm=smo_Latn sn=sna_Latn "
    "so=som_Latn sq=als_Latn sr=srp_Cyrl ss=ssw_Latn st=sot_Latn su=sun_Latn sv=swe_Latn "
    "sw=swh_Latn szl=szl_Latn ta=tam_Taml taq=taq_Latn taq-Tfng=taq_Tfng te=tel_Telu tg=tgk_Cyrl "
    "th=tha_Thai ti=tir_Ethi tk=tuk_Latn tn=tsn_Latn tpi=tpi_Latn tr=tur_Latn ts=tso_Latn "
    "tt=tat_Cyrl tum=tum_Latn tw=twi_Latn tzm-Tfng=tzm_Tfng ug=uig_Arab uk=ukr_Cyrl umb=umb_Latn "
    "ur=urd_Arab uz=uzn_Latn vec=vec_Latn vi=vie_Latn war=war_Latn wo=wol_Latn xh=xho_Latn "
    "yi=ydd_Hebr yo=yor_Latn yue=yue_Hant zh-Hans=zho_Hans zh-Hant=zho_Hant zu=zul_Latn"
)
_LOCALES = (
    "af-ZA am-ET ar-SA az-AZ bn-BD cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL "
    "hi-IN hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN "
    "ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH "
    "tr-TR ur-PK vi-VN"
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
sentence. ``configs`` has all 205 languages."""

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
    | {"fil": "tl-PH", "zh-Hans": "zh-CN", "zh-Hant": "zh-TW"},
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
