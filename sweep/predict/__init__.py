"""Tag new texts with the model of a finished trial."""
