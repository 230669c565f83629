"""The checks before a launch."""
