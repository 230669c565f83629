"""From an experiment to a cluster: launch files, and waiting until its nodes are there."""

from xlt.sweep.cluster.templates import TEMPLATES, launch_file

__all__ = ["TEMPLATES", "launch_file"]
