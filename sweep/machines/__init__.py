"""What machines offer to trials."""
