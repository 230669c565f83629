"""Removal of passwords, tokens and keys from texts that may be passed on."""

from __future__ import annotations

import re
from functools import lru_cache

_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "…@"),  # user and password in a URI
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "hf_…"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), "AKIA…"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1…"),
    (re.compile(r"(?i)((?:token|secret|password|passwd|api_?key|access_?key)\w*['\"]?\s*[=:]\s*)"
                r"(?:'[^']*'|\"[^\"]*\"|[^\s'\",&]+)"), r"\1…"),
)  # fmt: skip


@lru_cache(maxsize=10_000)  # settings of thousands of trials are few different texts
def remove_secrets(text: str) -> str:
    """Replace everything in a text that looks like a password, a token or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
