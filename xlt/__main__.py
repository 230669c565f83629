"""``python -m xlt`` is ``xlt``."""

from xlt.sweep.cli.main import main

raise SystemExit(main())
