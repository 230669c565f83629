"""Explanations: how much each token of a text adds to a classifier's probability."""
