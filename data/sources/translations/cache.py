"""The cache of translations, so that an interrupted step resumes and no text is translated twice.

Each text is appended as soon as it is translated. The file of a translator lies in the user's cache
folder and holds the texts themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from xlt.data.core.json_text import parse_json
from xlt.data.core.user_cache import cache_dir, writing_to_cache


class Made(NamedTuple):
    """The translation of a text by a model."""

    text: str
    """The translation; it may be empty."""
    source_was_cut: bool
    """Whether the text was longer than the model was given."""
    was_cut: bool
    """Whether the translation reached the limit of tokens, so that its end may be missing."""


class TranslationCache:
    """The translations of one translator: text -> translation.

    Args:
        about: Everything that a translation depends on besides its text: model, languages and
            settings; it gives the file its name.

    Attributes:
        translations: The translations so far. A damaged line, during whose writing the process was
            killed, counts as not written.
    """

    def __init__(self, about: str) -> None:
        name = hashlib.sha256(about.encode()).hexdigest()[:32]
        self.file = cache_dir() / "translations" / f"{name}.jsonl"
        self._about = about
        self.translations = self._read()

    def _read(self) -> dict[str, Made]:
        translations: dict[str, Made] = {}
        if not self.file.is_file():
            return translations
        for line in self.file.read_bytes().split(b"\n"):
            try:
                source, *rest = parse_json(line)
                translations[source] = Made(*rest)
            except (ValueError, TypeError):  # damaged, empty, or the first line
                continue
        return translations

    def add(self, translations: Mapping[str, Made]) -> None:
        """Append translations; they are on disk when this returns.

        Raises:
            InputError: The file cannot be written.
        """
        lines = [
            json.dumps([source, *values], ensure_ascii=False)
            for source, values in translations.items()
        ]
        with writing_to_cache():
            if not self.file.is_file():
                self.file.parent.mkdir(parents=True, exist_ok=True)
                lines.insert(0, json.dumps({"about": self._about}, ensure_ascii=False))
            with self.file.open("ab") as stream:
                # The line break at the start ends a damaged line, and one write keeps lines of two
                # processes apart.
                stream.write(b"\n" + "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n")
        self.translations.update(translations)
