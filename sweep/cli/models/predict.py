"""xlt predict: tag new texts with the model that a trial kept."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import (
    Names,
    add_address,
    add_backend,
    add_command,
    add_test_lang,
    add_threshold,
)
from xlt.sweep.cli.exit_status import INTERRUPTED, OK

if TYPE_CHECKING:
    from xlt.trainables.spec.trial_spec import TrialSpec

SECONDS = 10.0
"""Time between two lines of progress where there is no terminal."""


def add_commands(commands: Any) -> None:
    """Add ``predict`` to the parser."""
    predict = add_command(
        commands, "predict", _predict,
        "Tag new texts with the model that a finished trial kept.",
        "predict results news.csv --model elyza --pattern ja104 --seed 0 --out tags.csv",
        "predict results/trials/ID texts/ --columns text=headline --out tags/ --backend ray",
        "predict results - --trial ID --threshold median --out tags.jsonl < headlines.txt",
        "predict results new.csv --trial ID --threshold alarms=20 --prevalence 0.02 --out a.csv",
    )  # fmt: skip
    predict.add_argument(
        "trial", metavar="TRIAL", help="RESULTS/trials/ID, or RESULTS; a folder or a URI"
    )
    predict.add_argument(
        "input", metavar="INPUT",
        help="a csv, tsv, jsonl or parquet file, a folder of such files, or - for lines of stdin",
    )  # fmt: skip
    predict.add_argument(
        "--out", required=True, metavar="OUTPUT",
        help="a .csv, .jsonl or .parquet file, or FOLDER/",
    )  # fmt: skip
    which = predict.add_argument_group("which trial of RESULTS")
    which.add_argument("--trial", metavar="ID", dest="trial_id", help="trial id, or its beginning")
    which.add_argument("--model", metavar="NAME", help="base model")
    which.add_argument("--pattern", metavar="NAME", help="pattern")
    which.add_argument("--seed", type=int, metavar="N", help="seed")
    predict.add_argument(
        "--base-path", metavar="FOLDER", help="folder of the base model, if it was moved"
    )
    read = predict.add_argument_group("the input")
    read.add_argument(
        "--columns", default="", metavar="text=T,id=I",
        help="names of the columns text, id, text_pair and lang; id= for no id",
    )  # fmt: skip
    read.add_argument(
        "--keep", default="", metavar="A,B=C",
        help="copy column A to the output, and column B under the name C",
    )  # fmt: skip
    read.add_argument(
        "--format", choices=Names(("csv", "tsv", "jsonl", "parquet", "lines")),
        help="format of the input, if its suffix does not say it",
    )  # fmt: skip
    read.add_argument(
        "--no-quoting", action="store_true", help="read double quotes as plain characters"
    )
    write = predict.add_argument_group("the tags")
    add_threshold(write, "median, prior=P, ")
    write.add_argument(
        "--class-scores", action="store_true", help="write a column with the score of each class"
    )
    run = predict.add_argument_group("how it runs")
    run.add_argument("--batch-size", type=int, metavar="N", help="texts a batch (default: 64)")
    run.add_argument(
        "--chunk-rows", type=int, metavar="N", help="rows between two saves (default: 2048)"
    )
    add_test_lang(predict)
    add_backend(predict, "ray with --address, else inline")
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
    names = ("threshold", "prevalence", "test_lang", "batch_size", "chunk_rows")
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
    if note := _describe_language(trial.spec):
        print(note, file=sys.stderr)
    try:
        with _ProgressLine() as progress:
            prediction = predict(
                trial,
                texts,
                options.out,
                settings,
                backend=options.backend or ("ray" if options.address else "inline"),
                address=options.address,
                progress=progress,
            )
    except KeyboardInterrupt:
        print("Stopped; the same command resumes it.", file=sys.stderr)
        return INTERRUPTED
    print(_summary(prediction, options.out, trial))
    return OK


def _describe_language(spec: TrialSpec) -> str:
    """Say that the texts must be translated first; empty if the model reads the target language."""
    if spec.pattern.translate != "test":
        return ""
    source, target = spec.source_lang, spec.pattern.target_lang
    return (
        f"{spec.pattern.name} was trained and tested on {source} texts: translate {target} texts "
        f"into {source} before you tag them, because `xlt predict` reads texts as they are."
    )


def _pairs(text: str, option: str, *, bare: bool = False) -> list[tuple[str, str]]:
    """Parse ``a=b,c=d`` into pairs; with ``bare``, ``a`` alone gives (a, "")."""
    pairs = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not (equals or bare):
            raise InputError(f"{part!r} is not NAME=COLUMN", option)
        pairs.append((name, value))
    return pairs


class _ProgressLine:
    """Show rows and rows a second: one line that changes on a terminal, else a line at times."""

    def __init__(self) -> None:
        from xlt.sweep.driver.console import make_console

        self._console = make_console()
        self._status = self._console.status("starting") if self._console.is_terminal else None
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Callable[[int, int], None]:
        if self._status:
            self._status.start()
        return self._show

    def __exit__(self, *error: object) -> None:
        if self._status:
            self._status.stop()

    def _show(self, num_rows: int, num_new: int) -> None:
        now = time.monotonic()
        rate = num_new / max(now - self._start, 1e-9)
        line = f"{num_rows:,} rows, {rate:,.0f} rows/s"
        if self._status:
            self._status.update(line)
        elif now - self._last >= SECONDS:
            self._last = now
            print(line, file=sys.stderr, flush=True)


def _summary(prediction: Any, out: str, trial: Any) -> str:
    counts = prediction.counts
    labels = ", ".join(f"{number:,} {name}" for name, number in counts.labels.items())
    cut = "" if counts.threshold is None else f" at threshold {counts.threshold:.6g}"
    tagged = sum(counts.labels.values())
    name = f"{prediction.trial_id}{cut}"
    lines = [f"{tagged:,} of {counts.num_rows:,} rows tagged by {name}: {labels}"]
    if trial.chosen:
        lines.append(f"Model: {trial.chosen}")
    if prediction.about_threshold:
        lines.append(f"Threshold: {prediction.about_threshold}")
    if counts.rejected:
        reasons = ", ".join(f"{number:,} {why}" for why, number in counts.rejected.items())
        lines.append(f"Rejected: {reasons}; see {out.rstrip('/')}.rejected.csv")
    if counts.num_truncated:
        max_length = trial.spec.training.max_length
        lines.append(f"Cut to {max_length} tokens: {counts.num_truncated:,} texts")
    if number := prediction.num_new:
        seconds = prediction.seconds
        lines.append(f"{number:,} rows in {seconds:.1f} s, {number / seconds:,.0f} rows/s")
    else:
        lines.append("All rows were tagged before; nothing ran.")
    return "\n".join([*lines, f"Output: {out}"])
