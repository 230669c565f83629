"""Pre-training of miniature base models on this machine."""
