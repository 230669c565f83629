"""The source ``mrn``: the Reuters news archive."""
