"""``python -m xlt`` is ``xlt``."""

import sys

# Python puts the working folder first, where a user's statistics.py would hide the standard one.
if not sys.flags.safe_path:
    del sys.path[0]

from xlt.sweep.cli.main import program

program()
