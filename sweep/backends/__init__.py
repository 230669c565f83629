"""Backends: the registry, the backend without Ray, and what a worker does with a trial."""
