"""Arguments that several commands share."""

from __future__ import annotations

import argparse

_NAME = "a .yaml file, or one of the shipped names: quickstart, curves, paper, wikinews"


def add_experiment_arguments(command: argparse.ArgumentParser) -> None:
    """An experiment, values of it to replace, and where results go."""
    command.add_argument("experiment", help=_NAME)
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="replace a value of the file, e.g. training.num_train_epochs=2; repeatable",
    )  # fmt: skip
    command.add_argument("--results", metavar="URI", help="folder, file://, s3:// or gs://")


def add_address(command: argparse.ArgumentParser) -> None:
    """A Ray cluster."""
    command.add_argument("--address", metavar="RAY", help="of a running cluster; default: local")


def add_wait(command: argparse.ArgumentParser) -> None:
    """What to do while another driver holds the experiment."""
    command.add_argument(
        "--wait",
        action="store_true",
        help="wait while another driver runs or searches this experiment in these results",
    )


def add_cells(command: argparse.ArgumentParser) -> None:
    """Some cells of the grid, for :func:`parse_selection`."""
    command.add_argument(
        "--cells", "--only", default="", metavar="model=M,pattern=P",
        help="only these; repeat a key for more",
    )  # fmt: skip
