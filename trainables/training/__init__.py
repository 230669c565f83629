"""The training loop, its checkpoints, and the processes that train a trial together."""
