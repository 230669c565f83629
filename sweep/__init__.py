"""Plan, run and search sweeps: experiments, grids, Ray, and the command line ``xlt``.

This file imports nothing, so that commands that only read results start fast.
"""
