"""What the results say; reads result folders only."""
