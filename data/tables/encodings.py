"""Files that are not UTF-8: which lines, and what encoding they are likely in."""

from __future__ import annotations

import codecs
import re

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_few

NUM_LOOKED_AT = 1000
"""Bytes at the start; in UTF-16 about every second byte of Latin letters is zero."""
JAPANESE = {"cp932": "Shift-JIS", "euc_jp": "EUC-JP"}
"""Codec -> what people call it. In neither do the bytes of the other make kana."""
KANA = re.compile("[ぁ-ヿ]")
"""Hiragana and full-width katakana, which nearly every Japanese text has."""


def refuse_utf16(content: bytes) -> None:
    """Tell of UTF-16, which can be seen by the first bytes.

    Args:
        content: A file of text, or its beginning.

    Raises:
        InputError: It is UTF-16.
    """
    start = content[:NUM_LOOKED_AT]
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or start.count(0) > len(start) / 3:
        raise InputError("is UTF-16 by its first bytes (from line 1 on); save it as UTF-8")


def refuse_other_encodings(content: bytes) -> None:
    """Tell of bytes that are not UTF-8, with their lines and what they look like.

    Args:
        content: A whole file of text.

    Raises:
        InputError: It is UTF-16, or not UTF-8.
    """
    refuse_utf16(content)
    try:
        content.decode()
        return
    except UnicodeDecodeError as error:
        offset = error.start
    lines, num_foreign = [], 0
    for number, line in enumerate(content.split(b"\n"), 1):  # all bad lines, only if there are any
        num_foreign += not line.isascii()
        try:
            line.decode()
        except UnicodeDecodeError:
            lines.append(f"line {number}")
    # A stray byte in UTF-8 says nothing of the file, and UTF-8 can look like Shift-JIS.
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
