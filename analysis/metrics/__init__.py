"""Metrics and measures of predictions, computed with numpy alone."""
