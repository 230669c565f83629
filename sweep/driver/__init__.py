"""The process that drives a run: its lease, its progress and its end."""
