"""Base models, tokens and batches in memory."""
