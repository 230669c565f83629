"""Show trials in LIT: its Python environment, its server, and the program in the server."""
