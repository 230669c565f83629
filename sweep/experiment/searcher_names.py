"""SEARCHERS: the searchers that an experiment may name."""

from __future__ import annotations

SEARCHERS = {
    "grid": "xlt.sweep.search.searchers:grid",
    "random": "xlt.sweep.search.searchers:random",
    "tpe": "xlt.sweep.search.searchers:Tpe",
}
"""Name -> function of the settings, the rates, the base model's own rate and a seed; imported when
used, because an experiment is read long before it searches."""
