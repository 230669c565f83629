"""Results of a learning-rate search, and the rates chosen from them."""
