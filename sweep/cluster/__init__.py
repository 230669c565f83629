"""Launch files for clusters, and sweeps submitted as jobs to a running cluster."""

from xlt.sweep.cluster.templates import TEMPLATES, fill_launch_file

__all__ = ["TEMPLATES", "fill_launch_file"]
