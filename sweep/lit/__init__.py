"""LIT's environment, its server, and the program that it runs."""
