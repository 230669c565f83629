"""Read the weights of a later trial into the system's page cache before that trial starts."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from xlt.data.core.errors import InputError
from xlt.trainables.models.base_models import MINIATURE
from xlt.trainables.models.hub import find_loadable_folder
from xlt.trainables.spec.trial_spec import TrialSpec

WINDOW = 2**17
"""Bytes per request.

Linux cuts a longer request at its read-ahead window, which is 128 KiB unless a disk sets more
(mm/readahead.c, force_page_cache_ra).
"""
THREAD = "read-ahead"
"""Name of the threads that read."""

_REQUESTED: set[str] = set()
"""Identities of the base models that this process has requested."""


def read_ahead(spec: TrialSpec) -> None:
    """Start to read a trial's base model in the background, and return at once.

    Files that the machine lacks are downloaded. All processes of a machine share one page cache, so
    several processes that request the same model read it once. Errors are ignored here; the trial
    raises them when it loads the model.

    Args:
        spec: Trial whose base model is read. Miniatures are skipped, because they are small.
    """
    if not spec.has_base_model:
        return
    if spec.base_identity in _REQUESTED or spec.base_identity.startswith(MINIATURE):
        return
    _REQUESTED.add(spec.base_identity)
    threading.Thread(
        target=_read_weights, args=(spec.base_path, spec.revision), name=THREAD, daemon=True
    ).start()


def _read_weights(path: str, revision: str | None) -> None:
    with suppress(InputError, OSError):
        folder = find_loadable_folder(path, revision)
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        for file in sorted(folder.glob("*.safetensors")):
            with file.open("rb") as weights:
                for start in range(0, file.stat().st_size, WINDOW):
                    os.posix_fadvise(weights.fileno(), start, WINDOW, os.POSIX_FADV_WILLNEED)
