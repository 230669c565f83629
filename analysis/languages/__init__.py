"""Statements over the test languages of trials: transfer gaps, means, and ranks of base models."""
