"""xlt lit: trials side by side in the Learning Interpretability Tool."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.sweep.cli.arguments import Names, add_command, add_group, add_only, add_test_lang
from xlt.sweep.cli.exit_status import OK

if TYPE_CHECKING:
    from xlt.analysis.lit_export import LitExport
    from xlt.analysis.trials.collect import Collected

PORT = 4321


def add_commands(commands: Any) -> None:
    """Add ``lit install``, ``lit export`` and ``lit serve`` to the parser."""
    group = add_group(
        commands, "lit", "Show trials side by side in LIT, the Learning Interpretability Tool."
    )
    install = add_command(
        group, "install", _install,
        "Install LIT into its own environment, because its packages conflict with those of xlt.",
        "lit install",
    )  # fmt: skip
    install.add_argument(
        "--python", default=sys.executable, help="Python 3.11 or 3.12 (default: this one)"
    )
    export = add_command(
        group, "export", _export, "Write test rows, predictions and contributions for LIT.",
        "lit export results --only model=elyza --seeds 0,1 --out lit-export",
    )  # fmt: skip
    export.add_argument("results", metavar="RESULTS", help="results location: a folder or a URI")
    export.add_argument(
        "--out", required=True, metavar="FOLDER", help="a new folder, or an earlier export's"
    )
    serve = add_command(
        group, "serve", _serve,
        "Start LIT on trials and print the page's address; Ctrl-C stops it.",
        "lit serve results --only pattern=ja104",
        "lit serve results --live",
    )  # fmt: skip
    serve.add_argument(
        "results", metavar="RESULTS|FOLDER", help="results location, or the folder of an export"
    )
    serve.add_argument(
        "--port", type=int, default=PORT, metavar="N",
        help=f"port of the page (default: {PORT}); 0: a free one",
    )  # fmt: skip
    serve.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone); on another one, "
        "everybody who reaches it can read the texts",
    )  # fmt: skip
    serve.add_argument(
        "--live", action="store_true",
        help="allow edits of texts: the kept classifiers predict and explain them",
    )  # fmt: skip
    for parser in (export, serve):
        parser.add_argument(
            "--experiment", metavar="NAME",
            help="name of the experiment, if the location has several",
        )  # fmt: skip
        add_only(parser)
        add_test_lang(parser)
        parser.add_argument("--seeds", metavar="N,N", help="show these seeds only (default: all)")
        parser.add_argument(
            "--method", choices=Names(("lime", "ig", "occlusion")),
            help="method of the contributions (default: lime)",
        )  # fmt: skip
    for parser in (install, serve):
        parser.add_argument(
            "--env", type=Path, metavar="FOLDER",
            help="LIT's environment (default: in the user's cache folder)",
        )  # fmt: skip


def _install(options: argparse.Namespace) -> int:
    from xlt.sweep.lit.environment import find_default_folder, install

    folder = options.env or find_default_folder()
    is_new = install(folder, options.python, lambda line: print(line, file=sys.stderr, flush=True))
    print(f"LIT {'is' if is_new else 'was already'} installed in {folder}")
    return OK


def _export(options: argparse.Namespace) -> int:
    _write(options, Path(options.out))
    print(f"Show it: xlt lit serve {options.out}")
    return OK


def _serve(options: argparse.Namespace) -> int:
    from xlt.analysis.lit_export import is_export
    from xlt.sweep.driver.scratch import scratch_folder
    from xlt.sweep.lit.environment import check, find_default_folder
    from xlt.sweep.lit.server import serve

    environment = options.env or find_default_folder()
    check(environment)  # before the export, which may take longer
    answer = None
    with ExitStack() as temporary:
        folder = temporary.enter_context(scratch_folder("lit"))
        if is_export(Path(options.results)):
            folder = Path(options.results)
            chosen = (
                options.experiment, options.only, options.test_lang, options.seeds, options.method,
            )  # fmt: skip
            if any(chosen):
                raise InputError(
                    f"{folder} is an export, which is shown as a whole; give its results location "
                    "to select cells"
                )
            if options.live:
                raise InputError(
                    f"{folder} is an export and holds no models; give its results location "
                    "for --live"
                )
        else:
            collected, export = _write(options, folder, options.live)
            if options.live:
                from xlt.sweep.lit.live import LiveTrials

                answer = LiveTrials(collected, export).answer
        with serve(folder, environment, options.host, options.port, answer) as server:
            temporary.close()  # LIT has read it, and licensed texts must not stay on the disk
            print(f"LIT is at {server.url}\nCtrl-C stops it.", flush=True)
            try:
                server.wait()
            except KeyboardInterrupt:
                print("\nstopped", file=sys.stderr)
    return OK


def _write(
    options: argparse.Namespace, folder: Path, live: bool = False
) -> tuple[Collected, LitExport]:
    """Export the selected trials; notes go to standard error."""
    from xlt.analysis.lit_export import lit_export, write_export
    from xlt.analysis.trials.collect import collect
    from xlt.trainables.spec.explain import Explain

    method = options.method or "lime"
    settings = Explain.parse({"method": method})
    collected = collect(
        options.results, options.experiment, only=options.only, allow_mixed=True,
        test_lang=options.test_lang,
    )  # fmt: skip
    seeds = _seeds(options.seeds)
    export = lit_export(
        collected,
        seeds=seeds,
        method=method,
        otherwise=settings if live else None,
    )
    write_export(export, folder)
    for note in export.manifest["notes"]:
        print(f"note: {note}", file=sys.stderr)
    files = [export.files[model["file"]] for model in export.manifest["models"]]
    explained = sum(any(row["tokens"] for row in rows) for rows in files)
    print(f"{len(files)} trials, {explained} of them explained by {method}")
    return collected, export


def _seeds(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise InputError(f"{text!r} is no list of seeds; write e.g. 0,1", "--seeds") from error
