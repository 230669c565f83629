"""What runs where: experiments, the grid, Ray Tune, the command line."""
