"""From an experiment to a list of trials, and what of it is left to run."""
