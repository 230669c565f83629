"""xlt track: send the trials of a results location to experiment trackers."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import add_command, add_only, add_results
from xlt.sweep.cli.exit_status import OK


def add_commands(commands: Any) -> None:
    """Add ``track`` to the parser."""
    track = add_command(
        commands, "track", _track,
        "Send finished and failed trials to experiment trackers; a trial that a tracker has "
        "already is not sent again.",
        "track results --to tensorboard=runs",
        "track results --to mlflow=http://127.0.0.1:5000 --to wandb --only pattern=ja0",
    )  # fmt: skip
    add_results(track)
    add_only(track)
    track.add_argument(
        "--to", action="append", required=True, metavar="NAME[=PLACE]",
        help="a tracker: mlflow=URI, tensorboard=FOLDER, trackio=FOLDER or wandb=FOLDER; without "
        "a place its default; repeatable",
    )  # fmt: skip
    track.add_argument(
        "--artifacts",
        action="store_true",
        help="also send predictions.parquet, and trial.json without texts and paths",
    )


def _track(options: argparse.Namespace) -> int:
    from xlt.analysis.trials.collect import collect
    from xlt.sweep.tracking.registry import parse_destinations
    from xlt.sweep.tracking.sender import Sender, send_all
    from xlt.trainables.results.result import Results

    destinations = parse_destinations(options.to)
    for destination in destinations:
        destination.require_package()
    collected = collect(options.results, options.experiment, only=options.only, allow_mixed=True)
    name, location = collected.plan.experiment, Results(collected.uri)
    ended = [row.trial_id for row in collected.rows if row.state in ("done", "failed")]
    records = [collected.records[trial_id] for trial_id in ended]
    if not records:
        raise InputError(
            f"none of {len(collected.rows)} trials has ended; `xlt run` them first",
            f"experiment {name} in {collected.uri}",
        )
    problems = []
    for destination in destinations:
        sender = Sender(destination, location, name, options.artifacts)
        try:
            counts = send_all(sender, records)
        except InputError as error:
            problems.append(str(error))
            continue
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in ("sent", "replaced", "unchanged"))
        print(f"{destination}: {parts}")
    if others := len(collected.rows) - len(records):
        print(f"{others} trials have not ended; run the same command after them", file=sys.stderr)
    if problems:
        raise InputError(problems)
    return OK
