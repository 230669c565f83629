"""Weights that a later trial loads are read before it starts, into the system's page cache."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from xlt.data.core.errors import InputError
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import loadable_folder
from xlt.trainables.spec.trial_spec import TrialSpec

WINDOW = 2**17
"""Bytes asked for at a time: Linux cuts off a longer request at its read-ahead window, 128 KiB
unless a disk says more (mm/readahead.c, force_page_cache_ra)."""
THREAD = "read-ahead"
"""Name of the threads that ask."""

_ASKED_FOR: set[str] = set()
"""Identities of base models, in this process."""


def read_ahead(spec: TrialSpec) -> None:
    """Have a trial's base model read while this process does other work; returns at once.

    What the machine does not hold is downloaded. The page cache is one for all of a machine's
    processes, so that several that ask for the same read it once. Errors are the trial's to tell.

    Args:
        spec: Names the base model; miniatures are too small to matter.
    """
    if spec.base_identity in _ASKED_FOR or spec.base_identity.startswith(MINIATURE):
        return
    _ASKED_FOR.add(spec.base_identity)
    threading.Thread(
        target=_read_weights, args=(spec.base_path, spec.revision), name=THREAD, daemon=True
    ).start()


def _read_weights(path: str, revision: str | None) -> None:
    with suppress(InputError, OSError):
        folder = loadable_folder(path, revision)
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        for file in sorted(folder.glob("*.safetensors")):
            with file.open("rb") as weights:
                for start in range(0, file.stat().st_size, WINDOW):
                    os.posix_fadvise(weights.fileno(), start, WINDOW, os.POSIX_FADV_WILLNEED)
