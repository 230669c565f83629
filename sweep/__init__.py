"""What runs where: experiments, the grid, Ray Tune, the command line."""

from analysis.collect import collect
from sweep.experiment import load_experiment
from sweep.grid import expand
from sweep.run import run

__all__ = ["collect", "expand", "load_experiment", "run"]
