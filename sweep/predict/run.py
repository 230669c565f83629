"""Tag new texts with the model of a done trial: read in chunks, score, write part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, cast

import pyarrow as pa
import pydantic

from xlt.data.core.errors import InputError, unknown
from xlt.data.core.memory import importing_torch
from xlt.data.core.registries import load_entry
from xlt.data.core.settings import Settings, added_later
from xlt.data.dataset.languages import Language
from xlt.data.tables.unlabelled import Unlabelled, check_unlabelled
from xlt.sweep.predict.chunks import read_chunks, tag
from xlt.sweep.predict.output import Counts, find_output_format, write_output
from xlt.sweep.predict.parts import Output, PartStore, hash_chunks
from xlt.sweep.predict.threshold import Threshold, decide_threshold
from xlt.trainables.results.find_trial import FinishedTrial, find_trial

REQUEST_FORMAT = 1
"""Version of the output. It is increased when the same request gives another output, so that parts
of earlier versions are not reused."""


class Predict(Settings):
    """Settings of tagging."""

    threshold: str | None = None
    """Threshold for two classes, see :func:`parse_threshold` and :func:`parse_rule`; None: 0.5."""
    prevalence: float | None = pydantic.Field(
        default=None, gt=0, lt=1, strict=True, exclude_if=lambda share: share is None
    )
    """Share of class 1 among the texts, for a rule; None: that of the trial's task."""
    test_lang: Language | None = added_later(None)
    """Language of the test rows on which a rule chooses; None: the trial's target language."""
    class_scores: bool = False
    """Whether to write a column with the probability of each class."""
    batch_size: int = pydantic.Field(default=64, gt=0)
    """Texts of a batch. The default is that of trials; another size can change the last bits of a
    score."""
    chunk_rows: int = pydantic.Field(default=2048, gt=0)
    """Rows that are read, sorted by length, scored and written together. After an interruption each
    process repeats at most one such chunk."""


@dataclass(frozen=True)
class Job:
    """Input of a backend.

    Attributes:
        trial: Trial whose model tags.
        source: Texts.
        settings: Settings of tagging.
        done: Number of each chunk that was tagged before -> its digest.
    """

    trial: FinishedTrial
    source: Unlabelled
    settings: Predict
    done: Mapping[int, str]


class Tagged(NamedTuple):
    """A chunk that was read and, unless it was tagged before, tagged."""

    number: int
    """Position in the input, from 0."""
    num_rows: int
    """Rows of the chunk."""
    digest: str
    """Digest of the chunk."""
    table: pa.Table | None
    """Result of :func:`tag`; None if the chunk was tagged before."""


class PredictBackend(Protocol):
    """Function that tags all chunks, in this process or on a cluster."""

    def __call__(self, address: str | None, job: Job) -> Iterator[Tagged]:
        """Yield each chunk of the input, in any order."""


BACKENDS = {
    "ray": "xlt.sweep.on_ray.predict:predict_on_ray",
    "inline": "xlt.sweep.predict.run:predict_inline",
}
"""Name -> :class:`PredictBackend`, which is imported when it is used."""


@dataclass(frozen=True)
class Predicted:
    """Outcome of tagging.

    Attributes:
        trial_id: Trial whose model tagged.
        counts: Numbers of tagged and rejected rows.
        num_new: Rows that this call tagged or rejected; an earlier call did the others.
        seconds: Time for these rows, including loading.
        about_threshold: Sentence on a threshold that was chosen by a rule; else empty.
    """

    trial_id: str
    counts: Counts
    num_new: int
    seconds: float
    about_threshold: str = ""


def predict(
    trial: FinishedTrial | str,
    source: Unlabelled | str,
    out: str,
    settings: Predict | None = None,
    *,
    backend: str = "inline",
    address: str | None = None,
    progress: Callable[[int, int], None] = lambda num_rows, num_new: None,
) -> Predicted:
    """Tag texts with the model that a trial kept.

    An interrupted call leaves its parts beside the output. The same call then resumes, and writes
    the same bytes as a call without interruption.

    Args:
        trial: Trial from :func:`find_trial`, or its folder ``RESULTS/trials/ID``.
        source: Texts, or the path of files with the usual names of columns.
        out: Path or URI of the output, which ends with .csv, .jsonl or .parquet, or with / for a
            folder of Parquet files.
        settings: Settings of tagging; None: the defaults.
        backend: Name in :data:`BACKENDS`.
        address: Address of a running Ray cluster; None: RAY_ADDRESS, else a local cluster.
        progress: Function that receives the number of finished rows, and how many of them this
            call tagged.

    Returns:
        The outcome, when the output is complete.

    Raises:
        InputError: There is no such trial or there are no such texts, no row can be tagged, or the
            output exists and belongs to another request.
    """
    settings = settings or Predict()
    if backend not in BACKENDS:
        raise InputError(unknown("backend", backend, BACKENDS))
    finished = find_trial(trial) if isinstance(trial, str) else trial
    texts = Unlabelled(path=source) if isinstance(source, str) else source
    ending = find_output_format(out)
    threshold, about = decide_threshold(
        finished, settings.threshold, settings.prevalence, settings.test_lang
    )
    _refuse_taken_names(texts, settings, finished)
    folder, _, name = Output(out.rstrip("/")).uri.rpartition("/")
    output = Output(folder)
    check_unlabelled(texts)
    parts = PartStore(output, name, _request(finished, texts, settings, threshold, ending))
    record = parts.begin()
    job = Job(finished, texts, settings, parts.digests.copy())
    if record is not None:
        _refuse_other_input(record, texts, settings, output.path(name))
        return Predicted(finished.trial_id, Counts(**record["counts"]), 0, 0.0, about)

    start = time.monotonic()
    num_chunks = num_rows = num_new = 0
    for tagged in _backend(backend)(address, job):
        if tagged.table is None:
            parts.check(tagged.number, tagged.digest)
        else:
            parts.save(tagged.number, tagged.digest, tagged.table)
            num_new += tagged.num_rows
        num_chunks += 1
        num_rows += tagged.num_rows
        progress(num_rows, num_new)
    if not num_chunks:
        raise InputError("holds no rows, so there is nothing to tag", texts.path)
    digest = parts.input_digest(num_chunks)
    counts = write_output(
        output, name + ending * (ending == "/"), parts.tables, finished.classes, threshold,
        settings.class_scores,
    )  # fmt: skip
    parts.finish({"input_sha256": digest, "counts": counts.as_json()})
    return Predicted(finished.trial_id, counts, num_new, time.monotonic() - start, about)


def predict_inline(address: str | None, job: Job) -> Iterator[Tagged]:
    """Tag in this process; the address of a cluster is ignored."""
    tagger = None
    for chunk in read_chunks(job.source, job.settings.chunk_rows):
        table = None
        if chunk.number not in job.done:
            if tagger is None:
                with importing_torch():  # which finding all done does not need
                    from xlt.trainables.inference.tagging import Tagger
                tagger = Tagger.load(job.trial)
            table = tag(tagger, chunk, list(job.source.keep.values()), job.settings.batch_size)
        yield Tagged(chunk.number, len(chunk.rows), chunk.digest, table)


def _backend(name: str) -> PredictBackend:
    return cast(PredictBackend, load_entry(BACKENDS, name))


def _refuse_taken_names(source: Unlabelled, settings: Predict, trial: FinishedTrial) -> None:
    """Refuse to pass a column through under a name that the output already has."""
    own = {"id", "lang", "label", "score"}
    if settings.class_scores:
        own |= {f"score:{name}" for name in trial.classes}
    names = list(source.keep.values())
    if taken := sorted({n for n in names if n in own or names.count(n) > 1}):
        raise InputError(
            f"the output would have columns {taken} twice; pass them through under other names, "
            f"e.g. --keep {taken[0]}={taken[0]}_given"
        )


def _request(
    trial: FinishedTrial,
    source: Unlabelled,
    settings: Predict,
    threshold: Threshold,
    ending: str,
) -> dict[str, Any]:
    """Everything except the input's rows that determines the bytes of an output."""
    return {
        "request_format": REQUEST_FORMAT,
        "trial_id": trial.trial_id,
        "weights": dict(trial.files),
        "classes": list(trial.classes),
        "output": ending,
        **settings.model_dump(mode="json"),
        "threshold": asdict(threshold),  # parsed, so that 0.50 equals 0.5
        **source.model_dump(mode="json", exclude={"path", "lines", "format"}),
    }


def _refuse_other_input(
    record: dict[str, Any], source: Unlabelled, settings: Predict, place: str
) -> None:
    digests = {chunk.number: chunk.digest for chunk in read_chunks(source, settings.chunk_rows)}
    if hash_chunks(digests) != record["input_sha256"]:
        raise InputError("was made from another INPUT; remove it or give another --out", place)
