"""New texts tagged with a done trial's model: read in chunks, scored, written part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, cast

import pyarrow as pa
import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.load_entry import load_entry
from xlt.data.core.settings import Settings
from xlt.data.tables.unlabelled import Unlabelled, check_unlabelled
from xlt.sweep.predict.chunks import read_chunks, tag
from xlt.sweep.predict.output import Counts, output_format, write_output
from xlt.sweep.predict.parts import Output, PartStore, chain
from xlt.sweep.predict.threshold import Threshold, parse_threshold
from xlt.trainables.results.find_trial import FinishedTrial, find_trial

REQUEST_FORMAT = 1
"""Raised when the same request makes another output; earlier parts are then not gone on with."""


class Predict(Settings):
    """How texts are tagged."""

    threshold: str | None = None
    """Of two classes: see :func:`parse_threshold`; None: 0.5."""
    class_scores: bool = False
    """Whether every class has a column with its probability."""
    batch_size: int = pydantic.Field(default=64, gt=0)
    """Texts a batch; another one can change the last bits of a score. As trials are scored."""
    chunk_rows: int = pydantic.Field(default=2048, gt=0)
    """Rows read, sorted by length, scored and written together: what a kill can lose."""


@dataclass(frozen=True)
class Job:
    """What a backend does.

    Attributes:
        trial: Whose model tags.
        source: The texts.
        settings: How.
        done: Number of each chunk that was tagged before -> its digest.
    """

    trial: FinishedTrial
    source: Unlabelled
    settings: Predict
    done: Mapping[int, str]


class Tagged(NamedTuple):
    """A chunk that was read."""

    number: int
    """From 0."""
    num_rows: int
    """Of the input."""
    digest: str
    """Of what was read."""
    table: pa.Table | None
    """As :func:`tag` makes it; None: it was tagged before."""


class PredictBackend(Protocol):
    """Where chunks are tagged."""

    def __call__(self, address: str | None, job: Job) -> Iterator[Tagged]:
        """Every chunk of the input, in any order."""


BACKENDS = {
    "ray": "xlt.sweep.on_ray.predict:predict_on_ray",
    "inline": "xlt.sweep.predict.run:predict_inline",
}
"""Name -> :class:`PredictBackend`, imported when used."""


@dataclass(frozen=True)
class Predicted:
    """How tagging ended.

    Attributes:
        trial_id: Whose model tagged.
        counts: What became of the rows.
        num_new: Rows that this call tagged or rejected; the others were there.
        seconds: What they took, loading included.
    """

    trial_id: str
    counts: Counts
    num_new: int
    seconds: float


def predict(
    trial: FinishedTrial | str,
    source: Unlabelled | str,
    out: str,
    settings: Predict | None = None,
    *,
    backend: str = "inline",
    address: str | None = None,
    told: Callable[[int, int], None] = lambda num_rows, num_new: None,
) -> Predicted:
    """Tag texts with the model that a trial kept.

    Args:
        trial: As :func:`find_trial` finds it, or ``RESULTS/trials/ID``.
        source: The texts, or the path of files with the usual names of columns.
        out: Where to; ends with .csv, .jsonl, .parquet, or / for a folder of Parquet files.
        settings: How; None: as their defaults say.
        backend: A name in :data:`BACKENDS`.
        address: Of a running Ray cluster; None: RAY_ADDRESS, else a local one.
        told: Called with the rows that are behind, and those of them that are new.

    Returns:
        How it ended. The output is whole then; a call that was cut off left its parts beside it,
        and the same call goes on with them to the same bytes.

    Raises:
        InputError: No such trial or texts, no row that can be tagged, or an output of something
            else.
    """
    settings = settings or Predict()
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    found = find_trial(trial) if isinstance(trial, str) else trial
    texts = Unlabelled(path=source) if isinstance(source, str) else source
    ending = output_format(out)
    threshold = _threshold(settings, found)
    _refuse_taken_names(texts, settings, found)
    folder, _, name = Output(out.rstrip("/")).uri.rpartition("/")
    output = Output(folder)
    check_unlabelled(texts)
    parts = PartStore(output, name, _request(found, texts, settings, threshold, ending))
    record = parts.begin()
    job = Job(found, texts, settings, parts.digests.copy())
    if record is not None:
        _refuse_other_input(record, texts, settings, output.path(name))
        return Predicted(found.trial_id, Counts(**record["counts"]), 0, 0.0)

    start = time.monotonic()
    num_chunks = num_rows = num_new = 0
    for made in _backend(backend)(address, job):
        if made.table is None:
            parts.check(made.number, made.digest)
        else:
            parts.save(made.number, made.digest, made.table)
            num_new += made.num_rows
        num_chunks += 1
        num_rows += made.num_rows
        told(num_rows, num_new)
    if not num_chunks:
        raise InputError("holds no rows; there is nothing to tag", texts.path)
    digest = parts.input_digest(num_chunks)
    counts = write_output(
        output, name + ending * (ending == "/"), parts.tables, found.classes, threshold,
        settings.class_scores,
    )  # fmt: skip
    parts.finish({"input_sha256": digest, "counts": counts.as_json()})
    return Predicted(found.trial_id, counts, num_new, time.monotonic() - start)


def predict_inline(address: str | None, job: Job) -> Iterator[Tagged]:
    """Tag in this process; there is no cluster to reach."""
    tagger = None
    for chunk in read_chunks(job.source, job.settings.chunk_rows):
        table = None
        if chunk.number not in job.done:
            if tagger is None:
                from xlt.trainables.inference.tagging import (
                    Tagger,  # torch: not needed to find all done
                )

                tagger = Tagger.load(job.trial)
            table = tag(tagger, chunk, list(job.source.keep.values()), job.settings.batch_size)
        yield Tagged(chunk.number, len(chunk.rows), chunk.digest, table)


def _backend(name: str) -> PredictBackend:
    return cast(PredictBackend, load_entry(BACKENDS, name))


def _threshold(settings: Predict, trial: FinishedTrial) -> Threshold:
    if settings.threshold is not None and len(trial.classes) != 2:
        raise InputError(
            f"the trial has {len(trial.classes)} classes, of which the most probable one is the "
            "label; leave --threshold out"
        )
    return parse_threshold("0.5" if settings.threshold is None else settings.threshold)


def _refuse_taken_names(source: Unlabelled, settings: Predict, trial: FinishedTrial) -> None:
    """Refuse columns that are passed through under a name that the output has already."""
    ours = {"id", "lang", "label", "score"}
    if settings.class_scores:
        ours |= {f"score:{name}" for name in trial.classes}
    names = list(source.keep.values())
    if taken := sorted({n for n in names if n in ours or names.count(n) > 1}):
        raise InputError(
            f"columns {taken} of the output would be there twice; pass them through under other "
            f"names, e.g. --keep {taken[0]}={taken[0]}_given"
        )


def _request(
    trial: FinishedTrial,
    source: Unlabelled,
    settings: Predict,
    threshold: Threshold,
    ending: str,
) -> dict[str, Any]:
    """Everything that changes the bytes of an output but the rows of the input."""
    return {
        "request_format": REQUEST_FORMAT,
        "trial_id": trial.trial_id,
        "weights": dict(trial.files),
        "classes": list(trial.classes),
        "output": ending,
        **settings.model_dump(mode="json"),
        "threshold": asdict(threshold),  # 0.50 is 0.5
        **source.model_dump(mode="json", exclude={"path", "lines", "format"}),
    }


def _refuse_other_input(
    record: dict[str, Any], source: Unlabelled, settings: Predict, place: str
) -> None:
    digests = {chunk.number: chunk.digest for chunk in read_chunks(source, settings.chunk_rows)}
    if chain(digests) != record["input_sha256"]:
        raise InputError("was made of another INPUT; remove it or give another --out", place)
