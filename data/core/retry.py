"""Waiting for a disk or object store that does not work for a while."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from xlt.data.core.errors import InputError

Made = TypeVar("Made")

PATIENCE_SECONDS = 180.0
"""Longest wait for a location to work again: an outage of a minute or two costs no finished trial;
a disk that stays full holds its GPU no longer."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
"""Between two tries; each wait is twice the one before."""

MAY_PASS = frozenset(
    {
        errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO,
        errno.ENETDOWN, errno.ENETUNREACH, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip
"""Errors of disks and network disks that can be gone a minute later."""
STAYS = (
    "ACCESS_DENIED", "EXPIRED_TOKEN", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID",
    "NO_SUCH_BUCKET", "SIGNATURE_DOES_NOT_MATCH",
)  # fmt: skip
"""What an object store says (pyarrow quotes the AWS SDK's names) when only a person can help."""

_log = logging.getLogger(__name__)


def retry(function: Callable[[], Made]) -> Made:
    """Call a function again while its error may pass by itself.

    Args:
        function: Writes or reads files; one that was cut off may be called again.

    Returns:
        What it returned.

    Raises:
        OSError: Its error, at once where waiting does not help, else after
            :data:`PATIENCE_SECONDS`.
        InputError: Likewise; one that was raised from an OSError counts as that.
    """
    began, wait = time.monotonic(), FIRST_WAIT_SECONDS
    while True:
        try:
            return function()
        except (OSError, InputError) as error:
            cause = error.__cause__ if isinstance(error, InputError) else error
            left = PATIENCE_SECONDS - (time.monotonic() - began)
            if not isinstance(cause, OSError) or not may_pass(cause) or left <= 0:
                raise
            wait = min(wait, left)
            _log.warning("files cannot be written or read: %s; trying again in %.0f s", error, wait)
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def may_pass(error: OSError) -> bool:
    """Whether an error can be gone later although nobody did anything."""
    if error.errno is None:  # an object store's
        return not any(name in str(error) for name in STAYS)
    return error.errno in MAY_PASS
