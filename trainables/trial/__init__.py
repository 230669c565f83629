"""Run one trial, or several side by side, from spec to result."""
