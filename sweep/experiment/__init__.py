"""The experiment file as validated settings."""
