"""Public data sets of the Hugging Face hub as a source."""
