"""Intervals, variance components and tests."""
