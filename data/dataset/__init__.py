"""The data set of an experiment, and the draws of its rows by patterns."""
