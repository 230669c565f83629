"""The HTML page of an experiment: verdicts, tables, plots and all trials in one file."""

from xlt.analysis.page.build import Watched, render_page

__all__ = ["Watched", "render_page"]
