"""Base models and texts in memory: weights, token ids and batches."""
