"""Wait for what another process or thread does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def wait_for(
    condition: Callable[[], object],
    seconds: float = 100,
    process: subprocess.Popen[str] | None = None,
) -> None:
    """Wait until a condition is true; fail after the time, or when the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)
