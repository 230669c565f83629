"""xlt predict: new texts tagged with the model that a trial kept."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import add_address

DONE, INTERRUPTED = 0, 130
SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


def add_predict_command(commands: Any) -> None:
    """Add ``predict`` to the parser."""
    text = "Tag new texts with the model that a done trial kept."
    predict = commands.add_parser("predict", help=text, description=text)
    predict.set_defaults(command=_predict)
    predict.add_argument("trial", metavar="TRIAL", help="RESULTS/trials/ID, or RESULTS; or URIs")
    predict.add_argument(
        "input", metavar="INPUT", help="csv, tsv, jsonl or parquet; a folder of them; - for lines"
    )
    predict.add_argument(
        "--out", required=True, metavar="OUTPUT", help=".csv, .jsonl, .parquet, or FOLDER/"
    )
    which = predict.add_argument_group("which trial of RESULTS")
    which.add_argument("--trial", metavar="ID", dest="trial_id", help="its id, or how it begins")
    which.add_argument("--model", metavar="NAME", help="base model")
    which.add_argument("--pattern", metavar="NAME")
    which.add_argument("--seed", type=int, metavar="N")
    predict.add_argument(
        "--base-path", metavar="FOLDER", help="where its base model lies, if it was moved"
    )
    read = predict.add_argument_group("the input")
    read.add_argument(
        "--columns", default="", metavar="text=T,id=I",
        help="names of columns, of text, id, text_pair, lang; id= for none",
    )  # fmt: skip
    read.add_argument(
        "--keep", default="", metavar="A,B=C", help="pass columns through, B under the name C"
    )
    read.add_argument("--format", metavar="NAME", help="if suffixes do not say it")
    read.add_argument("--no-quoting", action="store_true", help="double quotes enclose nothing")
    write = predict.add_argument_group("the tags")
    write.add_argument(
        "--threshold", metavar="T", help="0.5 (default), a number, median, or prior=P"
    )
    write.add_argument("--class-scores", action="store_true", help="a column of each class")
    run = predict.add_argument_group("how it runs")
    run.add_argument("--batch-size", type=int, metavar="N", help="texts a batch (64)")
    run.add_argument("--chunk-rows", type=int, metavar="N", help="rows between two saves (2048)")
    run.add_argument("--backend", help="inline (default without --address) or ray")
    add_address(predict)


def _predict(options: argparse.Namespace) -> int:
    from xlt.data.tables.unlabelled import Unlabelled
    from xlt.sweep.predict.run import Predict, predict
    from xlt.trainables.results.find_trial import find_trial

    source: dict[str, Any] = {
        "path": options.input,
        "columns": {role: name or None for role, name in _pairs(options.columns, "--columns")},
        "keep": {name: new or name for name, new in _pairs(options.keep, "--keep", bare=True)},
        "format": options.format,
        "quoting": not options.no_quoting,
    }
    names = ("threshold", "batch_size", "chunk_rows")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if not source["columns"]:
        del source["columns"]
    texts = Unlabelled.parse(source)
    settings = Predict.parse(given | {"class_scores": options.class_scores})
    trial = find_trial(
        options.trial,
        options.trial_id,
        model=options.model,
        pattern=options.pattern,
        seed=options.seed,
        base_path=options.base_path,
    )
    try:
        with _Shown() as told:
            made = predict(
                trial,
                texts,
                options.out,
                settings,
                backend=options.backend or ("ray" if options.address else "inline"),
                address=options.address,
                told=told,
            )
    except KeyboardInterrupt:
        print("Stopped; the same command goes on with what is left.", file=sys.stderr)
        return INTERRUPTED
    print(_summary(made, options.out, trial.spec.training.max_length))
    return DONE


def _pairs(text: str, option: str, *, bare: bool = False) -> list[tuple[str, str]]:
    """``a=b,c=d`` as pairs; with ``bare``, ``a`` alone is (a, "")."""
    found = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not (equals or bare):
            raise InputError(f"{part!r} is not NAME=COLUMN", option)
        found.append((name, value))
    return found


class _Shown:
    """Rows and rows a second: a line that moves on a terminal, else a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("starting") if self._console.is_terminal else None
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Callable[[int, int], None]:
        if self._status:
            self._status.start()
        return self._told

    def __exit__(self, *error: object) -> None:
        if self._status:
            self._status.stop()

    def _told(self, num_rows: int, num_new: int) -> None:
        now = time.monotonic()
        rate = num_new / max(now - self._start, 1e-9)
        line = f"{num_rows:,} rows, {rate:,.0f} rows/s"
        if self._status:
            self._status.update(line)
        elif now - self._last >= SECONDS:
            self._last = now
            print(line, file=sys.stderr, flush=True)


def _summary(made: Any, out: str, max_length: int) -> str:
    counts = made.counts
    labels = ", ".join(f"{number:,} {name}" for name, number in counts.labels.items())
    cut = "" if counts.threshold is None else f" at threshold {counts.threshold:.6g}"
    tagged = sum(counts.labels.values())
    lines = [f"{tagged:,} of {counts.num_rows:,} rows tagged by {made.trial_id}{cut}: {labels}"]
    if counts.rejected:
        told = ", ".join(f"{number:,} {reason}" for reason, number in counts.rejected.items())
        lines.append(f"Rejected: {told}; see {out.rstrip('/')}.rejected.csv")
    if counts.num_truncated:
        lines.append(f"Cut to {max_length} tokens: {counts.num_truncated:,} texts")
    if made.num_new:
        rate = made.num_new / made.seconds
        lines.append(f"{made.num_new:,} rows in {made.seconds:.1f} s, {rate:,.0f} rows/s")
    else:
        lines.append("All of it was there already.")
    return "\n".join([*lines, f"Output: {out}"])
