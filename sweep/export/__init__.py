"""Exit of a kept model: a folder that transformers loads, with a model card, and its upload."""
