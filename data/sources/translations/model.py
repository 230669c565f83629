"""The settings of translations that `xlt data prepare` makes with a model."""

from __future__ import annotations

from typing import Literal, Self

import pydantic

from xlt.data.core.settings import Settings
from xlt.data.dataset.languages import ByLanguage, Language
from xlt.data.dataset.translations import Direction


class Translate(Settings):
    """A sequence-to-sequence model of transformers, and the direction in which it translates."""

    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    model: str
    """Hub id or local folder, e.g. of an NLLB, M2M100, mBART, Marian or T5 model."""
    revision: str | None = None
    """Commit, branch or tag on the hub; null: the newest commit."""
    source_lang: Language = pydantic.Field(alias="from")
    """Language of the rows that are translated, as in their column ``lang``."""
    target_lang: Language = pydantic.Field(alias="to")
    """Language of the translations."""
    codes: ByLanguage[str] = pydantic.Field(default_factory=dict)
    """Language -> the model's own code, e.g. ``{ja: jpn_Jpan}``; needed only where the model's
    codes do not show it."""
    prefix: str | None = None
    """Text before each text, for models that find the languages there: ``"translate English to
    German: "`` for T5, ``"<2ja> "`` for MADLAD, ``">>jpn<< "`` for a Marian model of several
    languages."""
    num_beams: int = pydantic.Field(default=1, gt=0)
    """Number of beams; 1: greedy decoding."""
    max_length: int = pydantic.Field(default=256, gt=1)
    """Number of tokens to which texts and translations are cut, special tokens included."""
    batch_size: int = pydantic.Field(default=16, gt=0)
    """Texts of a batch, which are of similar length."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the weights; auto: bf16 on a GPU, fp32 on a CPU."""

    @pydantic.model_validator(mode="after")
    def _two_languages(self) -> Self:
        if self.source_lang == self.target_lang:
            raise ValueError(f"from and to are both {self.source_lang!r}; name two languages")
        unused = sorted({*self.codes} - {*self.direction})
        if unused:
            raise ValueError(f"codes: {', '.join(unused)} is neither from nor to; remove it")
        return self

    @property
    def direction(self) -> Direction:
        """The languages of the rows and of their translations."""
        return Direction(self.source_lang, self.target_lang)
