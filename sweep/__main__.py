"""``python -m sweep`` is ``xlt``."""

from sweep.cli import main

raise SystemExit(main())
