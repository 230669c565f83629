"""Pre-training of miniature base models and their tokenizers on this machine."""
