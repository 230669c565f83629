"""What runs where: experiments, the grid, Ray Tune, the command line.

Nothing is imported here: every command passes through, also those that only read.
"""
