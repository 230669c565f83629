"""Ray Tune as the scheduler of trials."""
