"""Use the kept models of finished trials: predict and explain texts."""
