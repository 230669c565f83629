"""Errors of trackers as one sentence: what is wrong, and what to do."""

from __future__ import annotations

import re

from xlt.data.core.errors import InputError
from xlt.data.core.text import first_line, remove_secrets, shorten

ANSWER_SECONDS = 10
"""Time in which a server must answer a request."""


def hide_password(address: str) -> str:
    """Leave user and password out of an address, which a variable of the environment may have."""
    return re.sub(r"(?<=://)[^/\s]*@", "", address)


def no_answer(where: str) -> InputError:
    """Make the error for a server that is away."""
    return InputError(
        f"{where} does not answer within {ANSWER_SECONDS} s; start the server, or fix the address"
    )


def wrong_credentials(where: str, remedy: str) -> InputError:
    """Make the error for missing or wrong credentials, which it does not repeat."""
    return InputError(f"{where} refuses the credentials; {remedy}")


def failed(where: str, error: Exception) -> InputError:
    """Make the error for any other failure of a tracker's package."""
    text = shorten(first_line(remove_secrets(str(error)))) or "no reason given"
    return InputError(f"{where} failed: {type(error).__name__}: {text}")
