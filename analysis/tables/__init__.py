"""Mean (std) tables in the layout of the paper, in every format."""
