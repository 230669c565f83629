"""The source ``hub``: public data sets of the Hugging Face Hub."""
