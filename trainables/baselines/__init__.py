"""Baselines: logistic regression on features that do not change, and prompts."""
