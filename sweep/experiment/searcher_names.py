"""SEARCHERS: the searchers that an experiment may name."""

from __future__ import annotations

SEARCHERS = {
    "grid": "xlt.sweep.search.searchers:suggest_grid",
    "random": "xlt.sweep.search.searchers:suggest_random",
    "tpe": "xlt.sweep.search.searchers:Tpe",
}
"""Name -> function of settings, rates, own rate of the base model, and seed.

Functions are imported on use, because most commands read an experiment and search nothing.
"""
