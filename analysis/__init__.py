"""What the results say; reads result folders only: ``report(collect("results"))``."""

from analysis.collect import Collected, collect
from analysis.formats import FORMATS
from analysis.tables import render, report, table

__all__ = ["FORMATS", "Collected", "collect", "render", "report", "table"]
