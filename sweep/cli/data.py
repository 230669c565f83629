"""xlt data: prepare, show and audit data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt.data.core.errors import InputError
from xlt.data.core.stages import show_stages
from xlt.sweep.cli.arguments import add_command, add_group, add_set
from xlt.sweep.cli.exit_status import FINDINGS, OK

if TYPE_CHECKING:
    from xlt.data.dataset.patterns import Sampling
    from xlt.data.dataset.schema import Dataset
    from xlt.data.sources.options import SourceOptions
    from xlt.data.sources.prepared_store import Manifest

_WHAT = "a prepared data set (folder or URI), a source's .yaml, or an experiment (.yaml or name)"


def add_commands(commands: Any) -> None:
    """Add ``data`` with its commands to the parser of `xlt`."""
    group = add_group(commands, "data", "Prepare data once, show them, and audit them.")
    prepare = add_command(
        group, "prepare", _prepare,
        "Read a source, keep its rows, and print how many rows each rule left out.",
        "data prepare source.yaml --out prepared",
        "data prepare mrn.yaml --out s3://bucket/mrn --address HOST:6379",
        "data prepare source.yaml --out prepared --for my.yaml",
    )  # fmt: skip
    prepare.add_argument("source", metavar="SOURCE", help="a .yaml file with a source block")
    prepare.add_argument(
        "--out", required=True, metavar="URI", help="where the rows are kept: a folder or a URI"
    )
    prepare.add_argument(
        "--address", metavar="RAY", help="read the files of an archive on this Ray cluster"
    )
    prepare.add_argument(
        "--for", dest="experiment", metavar="EXPERIMENT",
        help="translate only the rows that this experiment (.yaml or name) draws",
    )  # fmt: skip
    show = add_command(
        group, "show", _show,
        "Print counts, lengths and samples, and the patterns that the rows suffice for.",
        "data show quickstart",
        "data show prepared --model mbert",
    )  # fmt: skip
    show.add_argument("what", metavar="DATA", help=_WHAT)
    show.add_argument("--model", metavar="NAME", help="count the tokens of this base model, too")
    audit = add_command(
        group, "audit", _audit, "Check the data for errors; exit status 3 if there are any.",
        "data audit my.yaml",
        "data audit prepared",
    )  # fmt: skip
    audit.add_argument("what", metavar="DATA", help=_WHAT)
    for parser in (prepare, show, audit):
        add_set(parser)


def _prepare(options: argparse.Namespace) -> int:
    from xlt.data.sources.prepared_store import PreparedData
    from xlt.data.sources.registry import parse_source, read_source
    from xlt.data.sources.summary import describe_manifest
    from xlt.sweep.experiment.settings_file import read_settings

    values = read_settings(options.source, options.settings)
    if values.get("source") == "prepared" and "translate" not in values:
        raise InputError(
            "is prepared already; name the source that it came from, or set translate",
            options.source,
        )
    source = parse_source(values, options.source)
    place = PreparedData(options.out)
    place.refuse_foreign()  # before hours of reading
    reader: dict[str, Any] = {}
    if options.address is not None:
        if values["source"] != "mrn":
            raise InputError("--address: only the source mrn is read over a cluster; leave it out")
        from xlt.sweep.on_ray.archive import make_archive_reader

        reader["read_files"] = make_archive_reader(options.address)
    with _Bar("reading", counts_bytes=True) as bar:
        reading = read_source(source, bar, **reader)
    if source.translate:
        reading = replace(reading, dataset=_translate(reading.dataset, source, options.experiment))
    elif options.experiment:
        raise InputError("--for: the source has no translate block; add one, or leave --for out")
    manifest = place.save(reading, source.as_given())
    print(describe_manifest(manifest))
    if reading.corrections:
        print(reading.corrections.describe())
    print(f"Prepared {place.uri}, fingerprint {manifest.fingerprint[:12]}")
    print(f"In an experiment: data: {{source: prepared, path: {place.uri}}}")
    return OK


def _translate(dataset: Dataset, source: SourceOptions, experiment: str | None) -> Dataset:
    """Make the translations of a source, and print how many there are."""
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.planning.translations import list_translated_rows
    from xlt.trainables.translation.step import translate_rows

    asked = load_experiment(experiment) if experiment else None
    while True:
        ids = list_translated_rows(asked, dataset) if asked else None
        for settings in source.translate:
            with _Bar(f"translating {settings.direction}", counts_bytes=False) as bar:
                dataset, report = translate_rows(dataset, settings, ids, bar)
            print(report.describe())
        # Rows that turn out to be translations of test rows are replaced by others.
        if asked is None or ids is None or list_translated_rows(asked, dataset) <= ids:
            return dataset


def _show(options: argparse.Namespace) -> int:
    from xlt.data.sources.summary import Lengths, describe_dataset

    dataset, sampling, manifest = _load(options.what, options.settings)
    lengths: dict[str, Lengths] = {}
    if options.model:
        lengths[f"{options.model} tokens"] = _token_lengths(options.model)
    print(describe_dataset(dataset, sampling, manifest, lengths))
    return OK


def _audit(options: argparse.Namespace) -> int:
    from xlt.data.audit.registry import audit
    from xlt.data.core.finding import describe_findings
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.planning.gate import check_data
    from xlt.sweep.planning.grid import expand
    from xlt.sweep.planning.prepare import prepare

    if _is_experiment(options.what, options.settings):
        experiment = load_experiment(options.what, options.settings)
        with show_stages():
            findings = check_data(expand(prepare(experiment)))
    else:
        with show_stages():
            findings = audit(_load(options.what, options.settings)[0])
    print(describe_findings(findings))
    return FINDINGS if any(f.severity == "error" for f in findings) else OK


def _is_experiment(what: str, settings: Sequence[str]) -> bool:
    """Return whether the argument is an experiment: a shipped name, or a file without a source."""
    from xlt.sweep.experiment.experiment import read_shipped
    from xlt.sweep.experiment.settings_file import read_settings

    is_file = what.endswith((".yaml", ".yml"))
    return what in read_shipped() or (is_file and "source" not in read_settings(what, settings))


def _load(what: str, settings: Sequence[str]) -> tuple[Dataset, Sampling | None, Manifest | None]:
    """Load the data that an argument names, with the sampling if it is an experiment."""
    from xlt.data.sources.prepared_store import PreparedData
    from xlt.data.sources.registry import load_dataset, parse_source
    from xlt.sweep.experiment.experiment import load_experiment
    from xlt.sweep.experiment.settings_file import read_settings

    if _is_experiment(what, settings):
        experiment = load_experiment(what, settings)
        return load_dataset(experiment.data), experiment.sampling, None
    if what.endswith((".yaml", ".yml")):
        return load_dataset(parse_source(read_settings(what, settings), what)), None, None
    if "://" not in what and not Path(what).expanduser().is_dir():
        raise InputError(f"{what!r} is neither {_WHAT}")
    place = PreparedData(what)
    return place.load(), None, place.manifest()


def _token_lengths(name: str) -> Callable[[Sequence[str]], list[int]]:
    from xlt.trainables.loading.tokenizer import load_tokenizer
    from xlt.trainables.models.base_models import BASE_MODELS

    model = BASE_MODELS.get(name)
    if model and model.miniature:
        raise InputError(
            f"{name} gets its tokenizer when it is pre-trained; give a hub id, a local folder or "
            "the name of another base model"
        )
    path, revision = (model.path, model.revision) if model else (name, None)
    tokenizer = load_tokenizer(path, revision)
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]


class _Bar:
    """Progress bar over bytes or texts, shown when a step reports them."""

    def __init__(self, title: str, counts_bytes: bool) -> None:
        from rich import progress

        from xlt.sweep.driver.console import make_console

        counts: list[progress.ProgressColumn] = [progress.MofNCompleteColumn()]
        if counts_bytes:
            counts = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
        self._bar = progress.Progress(
            progress.TextColumn(title), progress.BarColumn(), *counts,
            progress.TimeRemainingColumn(), console=make_console(),
        )  # fmt: skip
        self._task: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, num_done: int, num_in_all: int) -> None:
        """Show the progress that a step reports."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=num_in_all)
        self._bar.update(self._task, completed=num_done, total=num_in_all)
