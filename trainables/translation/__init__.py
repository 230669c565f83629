"""Translations of rows by sequence-to-sequence models."""
