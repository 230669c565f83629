"""What a learning-rate search tried, and which rate it chooses."""
