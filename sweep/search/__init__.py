"""Learning rates chosen per cell on development rows, never on test rows."""
