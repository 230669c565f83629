"""An experiment as one HTML file: verdicts, tables, plots and every trial, without a network."""

from xlt.analysis.page.build import Watched, render_page

__all__ = ["Watched", "render_page"]
