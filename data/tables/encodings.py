"""Files that are not UTF-8: their bad lines, and their likely encoding."""

from __future__ import annotations

import codecs
import re

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few

NUM_LOOKED_AT = 1000
"""Bytes at the start that are searched for UTF-16. In UTF-16 about every second byte of Latin
letters is zero."""
JAPANESE = {"cp932": "Shift-JIS", "euc_jp": "EUC-JP"}
"""Codec -> usual name. A text in one of them contains no kana when it is decoded by the other."""
KANA = re.compile("[ぁ-ヿ]")
"""Hiragana and full-width katakana; nearly every Japanese text contains some."""


def refuse_utf16(content: bytes) -> None:
    """Refuse UTF-16, which the first bytes show.

    Args:
        content: A text file, or its beginning.

    Raises:
        InputError: The file is UTF-16.
    """
    start = content[:NUM_LOOKED_AT]
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or start.count(0) > len(start) / 3:
        raise InputError("is UTF-16 by its first bytes (from line 1 on); save it as UTF-8")


def refuse_other_encodings(content: bytes) -> None:
    """Refuse bytes that are not UTF-8.

    Args:
        content: A whole text file.

    Raises:
        InputError: The file is UTF-16, or not UTF-8; with the bad lines and the likely encoding.
    """
    refuse_utf16(content)
    try:
        content.decode()
        return
    except UnicodeDecodeError as error:
        offset = error.start
    lines, num_foreign = [], 0
    for number, line in enumerate(content.split(b"\n"), 1):
        num_foreign += not line.isascii()
        try:
            line.decode()
        except UnicodeDecodeError:
            lines.append(f"line {number}")
    # A single bad byte says nothing about the encoding, and UTF-8 can look like Shift-JIS.
    likely = _japanese_encoding(content) if 2 * len(lines) > num_foreign else None
    hint = f"; it looks like {likely}" if likely else ""
    raise InputError(
        f"is not UTF-8 at byte offset {offset} (0x{content[offset]:02x}): "
        f"{first_few(lines)}{hint}; save it as UTF-8"
    )


def _japanese_encoding(content: bytes) -> str | None:
    for codec, name in JAPANESE.items():
        try:
            if KANA.search(content.decode(codec)):
                return name
        except UnicodeDecodeError:
            pass
    return None
