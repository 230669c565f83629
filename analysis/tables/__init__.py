"""Tables: the Table type and its formats, mean (std) tables, and the published values."""
