"""Kept models of finished trials, used on new texts."""
