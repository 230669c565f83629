"""What a trial is asked to do: frozen settings whose hash is the trial id."""
