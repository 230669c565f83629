"""From an experiment to a list of trials, and to the trials that are not done yet."""
