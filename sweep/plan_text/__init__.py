"""The text of `xlt plan`: a grid in words and numbers."""
