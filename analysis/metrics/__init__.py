"""Measures of predictions beyond the metrics of trials: thresholds, calibration, influences."""
