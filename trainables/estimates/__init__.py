"""Estimates of memory, operations and time, made before a trial runs."""
