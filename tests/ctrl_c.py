"""Ctrl-C in processes that tests start."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """Shells start what runs in the background with Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
