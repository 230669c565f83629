"""A sequence-to-sequence model of transformers that translates texts in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from xlt.data.core.errors import InputError
from xlt.data.sources.translations.cache import Made
from xlt.data.sources.translations.model import Translate
from xlt.trainables.loading.tokenizer import load_tokenizer
from xlt.trainables.models.base_models import BaseModel, identify
from xlt.trainables.models.hub import UNRESOLVED, find_loadable_folder, resolve_revision
from xlt.trainables.models.verified_files import verify_files
from xlt.trainables.models.weights_folder import check_files
from xlt.trainables.translation.codes import check_prefix, find_codes, find_forced_token


class Translator:
    """A model with its tokenizer, ready to translate in one direction.

    Args:
        settings: The model, the languages and the generation.

    Attributes:
        origin: Everything that a translation depends on besides its text: commit or SHA-256 of the
            model, its codes of the languages, prefix, and settings of the generation. Batches and
            devices are not a part of it, because they change only rounding.

    Raises:
        InputError: The model cannot be found or loaded, is no encoder-decoder, or does not know a
            language.
    """

    def __init__(self, settings: Translate) -> None:
        try:
            self._load(settings)
        except InputError as error:
            raise InputError(error.problems, f"translate, model {settings.model!r}") from error

    def _load(self, settings: Translate) -> None:
        self._settings = settings
        model = BaseModel(name="translator", path=settings.model, revision=settings.revision)
        revision = resolve_revision(model)
        if revision == UNRESOLVED:
            raise InputError("the hub cannot be reached; connect, or give a local folder")
        self._folder = find_loadable_folder(settings.model, revision)
        check_files(self._folder)
        self._tokenizer = load_tokenizer(self._folder)
        config = _load_config(self._folder)
        self._prefix = check_prefix(self._tokenizer, config.model_type, settings)
        self._codes = find_codes(self._tokenizer, settings)
        if self._codes:
            self._tokenizer.src_lang = self._codes[0]
        positions = getattr(config, "max_position_embeddings", None)
        if positions and settings.max_length > positions:
            raise InputError(
                f"max_length {settings.max_length} is more than the {positions} tokens that the "
                f"model has positions for; set it to at most {positions}"
            )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._precision = settings.precision
        if self._precision == "auto":
            self._precision = "bf16" if self._device.type == "cuda" else "fp32"
        self._identity = identify(model.model_copy(update={"revision": revision}))
        details: dict[str, object] = dict(zip(("from", "to"), self._codes or (), strict=False))
        if self._prefix:
            details["prefix"] = self._prefix
        details |= {"num_beams": settings.num_beams, "max_length": settings.max_length}
        details["precision"] = self._precision
        self.origin = f"{self._identity} {json.dumps(details, ensure_ascii=False)}"

    @cached_property
    def _model(self) -> Any:
        """The model, loaded when a text is not in the cache."""
        try:
            verify_files(self._folder, self._identity)
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                self._folder,
                dtype=torch.bfloat16 if self._precision == "bf16" else torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise InputError(
                f"cannot be loaded: {error}", f"translate, model {self._settings.model!r}"
            ) from error
        # The first token of the decoder's input belongs to max_length, too.
        model.generation_config.update(
            num_beams=self._settings.num_beams, do_sample=False, max_length=None,
            max_new_tokens=self._settings.max_length - 1,
        )  # fmt: skip
        if self._codes:
            forced = find_forced_token(self._tokenizer, self._codes[1])
            model.generation_config.forced_bos_token_id = forced
        return model.to(self._device).eval()

    def translate(self, texts: Sequence[str]) -> Iterator[dict[str, Made]]:
        """Translate texts in batches of similar length, the longest first.

        Args:
            texts: Different texts.

        Yields:
            Text -> translation, for each batch.
        """
        if not texts:  # some tokenizers refuse an empty list
            return
        prefixed = [self._prefix + text for text in texts]
        lengths = [len(ids) for ids in self._tokenizer(prefixed, verbose=False)["input_ids"]]
        order = sorted(range(len(texts)), key=lambda number: -lengths[number])
        limit = self._settings.max_length
        for start in range(0, len(order), self._settings.batch_size):
            numbers = order[start : start + self._settings.batch_size]
            translations = self._generate([prefixed[number] for number in numbers])
            yield {
                texts[number]: Made(text, lengths[number] > limit, was_cut)
                for number, (text, was_cut) in zip(numbers, translations, strict=True)
            }

    def _generate(self, texts: Sequence[str]) -> list[tuple[str, bool]]:
        """Translate one batch; a translation without an end within the limit was cut."""
        inputs = self._tokenizer(
            list(texts), truncation=True, max_length=self._settings.max_length, padding=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.inference_mode():
            tokens = self._model.generate(
                input_ids=inputs["input_ids"].to(self._device),
                attention_mask=inputs["attention_mask"].to(self._device),
            ).cpu()
        # Leave out the first token, and the code of the language, which is not special everywhere.
        written = tokens[:, 2 if self._codes else 1 :]
        decoded = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        is_full = tokens.shape[1] == self._settings.max_length
        # Some models write their token of the end wherever the limit is.
        ends = torch.isin(tokens[:, 1:-1], torch.tensor(self._model.generation_config.eos_token_id))
        was_cut = (is_full & ~ends.any(dim=1)).tolist()
        return list(zip(decoded, was_cut, strict=True))


def _load_config(folder: Path) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"its config cannot be read: {error}") from error
    if not config.is_encoder_decoder:
        raise InputError(
            f"{config.model_type} is no encoder-decoder; give a translation model such as NLLB, "
            "M2M100, mBART, Marian or T5"
        )
    return config
