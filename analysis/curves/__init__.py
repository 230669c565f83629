"""Learning curves: the score against the number of target rows."""
