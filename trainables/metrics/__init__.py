"""METRICS: everything that is known about each metric. Imports no torch and no scikit-learn."""
