"""What one trial does: spec, base models, training loop, result folder. Knows no Ray Tune."""
