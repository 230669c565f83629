"""Retries of file operations while a disk or object store is out of order."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from xlt.data.core.errors import InputError

Result = TypeVar("Result")

PATIENCE_SECONDS = 180.0
"""Longest time of retries. An outage of two minutes loses no finished trial, and a disk that stays
full does not block a GPU for longer than this."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
"""Shortest and longest wait between two tries; each wait is twice the previous one."""

TEMPORARY = frozenset(
    {
        errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO,
        errno.ENETDOWN, errno.ENETUNREACH, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip
"""Errors of local and network disks that may end within minutes."""
PERMANENT = (
    "ACCESS_DENIED", "EXPIRED_TOKEN", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID",
    "NO_SUCH_BUCKET", "SIGNATURE_DOES_NOT_MATCH",
)  # fmt: skip
"""Names of errors of object stores that only a person can fix. pyarrow quotes these names of the
AWS SDK in its messages."""

_log = logging.getLogger(__name__)


def retry(function: Callable[[], Result]) -> Result:
    """Call a function, and call it again while its error may be temporary.

    Args:
        function: A function that writes or reads files, and that may be repeated after an error.

    Returns:
        The result of the function.

    Raises:
        OSError: The error of the function: at once if it is permanent, else after
            :data:`PATIENCE_SECONDS`.
        InputError: The same for an InputError that was raised from an OSError; any other
            InputError at once.
    """
    began, wait = time.monotonic(), FIRST_WAIT_SECONDS
    while True:
        try:
            return function()
        except (OSError, InputError) as error:
            cause = error.__cause__ if isinstance(error, InputError) else error
            left = PATIENCE_SECONDS - (time.monotonic() - began)
            if not isinstance(cause, OSError) or not is_temporary(cause) or left <= 0:
                raise
            wait = min(wait, left)
            _log.warning("files cannot be written or read: %s; trying again in %.0f s", error, wait)
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def is_temporary(error: OSError) -> bool:
    """Whether an error may end without help."""
    if error.errno is None:  # an error of an object store
        return not any(name in str(error) for name in PERMANENT)
    return error.errno in TEMPORARY
