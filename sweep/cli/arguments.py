"""Arguments that several commands share, so that each means the same everywhere."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import Any

HELP_WIDTH = 79
"""Columns of the description of a command."""
SHIPPED = "quickstart, curves, regimes, paper, wikinews or laptop"
OLD_BACKENDS = {"tune": "ray"}
"""Former name of a backend -> name."""


class Names(tuple[str, ...]):
    """Names that help and completion list; the command itself refuses others.

    argparse would refuse an unknown name without saying which known name is the nearest.
    """

    def __contains__(self, name: object) -> bool:
        return True


def add_command(
    commands: Any, name: str, command: Callable[[Any], int], text: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command to a group of commands.

    Args:
        commands: The group, from ``add_subparsers``.
        name: Name of the command.
        command: The function that runs it: parsed options -> exit status.
        text: One or two sentences that say what it does; the first line of its help.
        examples: Command lines that the help shows, without the leading ``xlt``.

    Returns:
        The parser of the command.
    """
    lines = ["examples:", *(f"  xlt {example}" for example in examples)]
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=textwrap.fill(text, HELP_WIDTH),
        epilog="\n".join(lines) if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def add_group(commands: Any, name: str, text: str) -> Any:
    """Add a command that has commands of its own; returns the group for :func:`add_command`."""
    parser = commands.add_parser(name, help=text, description=textwrap.fill(text, HELP_WIDTH))
    return parser.add_subparsers(required=True, metavar="COMMAND")


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add an experiment, replaced values of it, and where its results go."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help=f"a .yaml file, or a shipped name: {SHIPPED}"
    )
    add_set(parser)
    parser.add_argument(
        "--results", metavar="URI",
        help="results location: a folder, file://, s3:// or gs://; default: the experiment's",
    )  # fmt: skip


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add values that replace those of a file."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="replace a value of the file, e.g. training.num_train_epochs=2; repeatable",
    )  # fmt: skip


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add an experiment whose results are read."""
    parser.add_argument("results", metavar="RESULTS", help="results location: a folder or a URI")
    parser.add_argument(
        "--experiment", metavar="NAME", help="name of the experiment, if the location has several"
    )


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add a selection of cells, for :func:`parse_selection`."""
    parser.add_argument(
        "--only", "--cells", default="", metavar="model=M,pattern=P",
        help="select cells by base model and pattern; repeat a key to select several",
    )  # fmt: skip


def add_backend(parser: argparse.ArgumentParser, chosen: str = "") -> None:
    """Add where trials run; ``chosen`` says how a command chooses if the default is not ray."""
    parser.add_argument(
        "--backend", default=None if chosen else "ray", choices=Names(("ray", "inline")),
        type=lambda name: OLD_BACKENDS.get(name, name),
        help=f"run on a Ray cluster, or inline in this process (default: {chosen or 'ray'})",
    )  # fmt: skip


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the address of a running Ray cluster."""
    parser.add_argument(
        "--address", metavar="RAY", help="address of a running Ray cluster; default: start one here"
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add whether to wait while another driver holds the experiment."""
    parser.add_argument(
        "--wait", action="store_true",
        help="wait while another `xlt run` or `xlt search` of this experiment uses these results",
    )  # fmt: skip


def add_adopt(parser: argparse.ArgumentParser) -> None:
    """Add whether a folder that lost its marker may be the results location."""
    parser.add_argument(
        "--adopt", action="store_true",
        help="use a results folder without its file xlt-results.json, if its trials are intact",
    )  # fmt: skip


def add_format(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the format of the output; the first name is the default."""
    parser.add_argument(
        "--format", default=names[0], choices=Names(names),
        help=f"format of the output (default: {names[0]})",
    )  # fmt: skip


def add_metric(parser: argparse.ArgumentParser) -> None:
    """Add the metric that is compared."""
    parser.add_argument(
        "--metric", metavar="NAME",
        help="metric: auroc (default), f1, accuracy ...; with more than two classes auroc_ovr "
        "(default), macro_f1, accuracy",
    )  # fmt: skip


def add_interval_method(parser: argparse.ArgumentParser) -> None:
    """Add how confidence intervals are computed."""
    parser.add_argument(
        "--interval-method", default="t", metavar="METHOD",
        help="how confidence intervals are computed (default: t)",
    )  # fmt: skip


def add_resamples(parser: argparse.ArgumentParser, default: int) -> None:
    """Add how many random draws a test or an interval takes."""
    parser.add_argument(
        "--resamples", type=int, default=default, metavar="N",
        help=f"number of random draws of tests and intervals (default: {default})",
    )  # fmt: skip


def add_prevalence(parser: argparse.ArgumentParser) -> None:
    """Add the share of positives at which metrics are computed."""
    parser.add_argument(
        "--prevalence", metavar="P",
        help="weight the test rows so that a share P of them is positive, e.g. 0.02; task: the "
        "share that the experiment names",
    )  # fmt: skip


def add_test_lang(parser: argparse.ArgumentParser) -> None:
    """Add the test language of the trials."""
    parser.add_argument(
        "--test-lang", metavar="LANG",
        help="use the test rows of this language, one of sampling.test_langs (default: each "
        "trial's target language)",
    )  # fmt: skip


def add_threshold(parser: Any, rules_of_texts: str = "") -> None:
    """Add the threshold of a model; ``rules_of_texts`` names those on the texts that are tagged."""
    parser.add_argument(
        "--threshold", metavar="T",
        help=f"score from which a text is positive: 0.5 (default), a number, {rules_of_texts}or a "
        "rule on the trial's test rows: precision=P, or alarms=N in 1,000 texts",
    )  # fmt: skip
    parser.add_argument(
        "--prevalence", type=float, metavar="P",
        help="share of positive texts, for a rule (default: the task's)",
    )  # fmt: skip
