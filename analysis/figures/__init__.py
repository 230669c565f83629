"""Figures of an experiment for papers and slides: functions of a matplotlib Axes."""

from xlt.analysis.figures.registry import FIGURES, draw_figures, save_figures

__all__ = ["FIGURES", "draw_figures", "save_figures"]
