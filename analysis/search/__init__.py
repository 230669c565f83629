"""Results of a learning-rate search, and the rate chosen from them."""
