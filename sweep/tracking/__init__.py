"""Experiment trackers that are fed from result folders."""
