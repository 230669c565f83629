"""Launch files for clusters, and sweeps submitted as jobs to a running cluster."""

from xlt.sweep.cluster.templates import TEMPLATES, Template, fill_launch_file

__all__ = ["TEMPLATES", "Template", "fill_launch_file"]
