"""Ray Tune as the scheduler of trials.

Tune copies AWS credentials of the driver into the runtime environment of each worker, which Ray
writes into a log. Here it copies only what Ray Train copies: settings of Ray. Workers use the
credentials of their own node.
"""

from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE
from ray.tune.execution import class_cache

class_cache.ENV_VARS_TO_PROPAGATE = ENV_VARS_TO_PROPAGATE
