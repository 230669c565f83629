"""Differences between cells, corrected for how many are tested."""
