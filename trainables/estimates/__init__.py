"""Estimates of a trial's memory, operations and time before it runs."""
