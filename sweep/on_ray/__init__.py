"""Run trials, predictions and explanations on a Ray cluster.

Ray reads the settings below when it is imported, so this file sets them before any module of this
package imports Ray.
"""

import os

# Disable usage statistics, and Tune's loggers, which cost half of the overhead: result folders
# replace them. Snapshots are rare, because no run is restored from them.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "120")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Else ray.init waits for the first worker processes, forever and without a message if they cannot
# start, and Ctrl-C does not end it.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Print no traceback of a trial that ended after Tune stopped to listen.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
