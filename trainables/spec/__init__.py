"""Specs of trials: frozen settings whose hash is the trial id."""
