"""Search a learning rate for each cell on dev rows."""

import xlt.sweep.on_ray  # noqa: F401  sets what Ray reads at import
