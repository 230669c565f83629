"""Differences between cells, corrected for the number of tests."""
