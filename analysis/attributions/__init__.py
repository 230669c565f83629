"""Token attributions averaged over texts and trials."""
