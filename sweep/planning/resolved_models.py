"""The base models of an experiment as they are found: which weights, and what is derived."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.data.corpora.registry import corpus_identity
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.models.architectures import ModelKind
from xlt.trainables.models.base_models import (
    LEARNING_RATE_OF,
    METHOD_OF,
    BaseModel,
    Method,
    find_local_folder,
    identify,
)
from xlt.trainables.models.hub import UNRESOLVED, find_metadata_folder, resolve_revision
from xlt.trainables.models.miniatures import identify_miniature
from xlt.trainables.models.weights_folder import Checkpoint, check_files, read_checkpoint


@dataclass(frozen=True)
class ResolvedModel:
    """A base model of an experiment with everything that the experiment leaves open.

    Attributes:
        model: As the experiment names it.
        identity: What enters trial ids, see :func:`identity`.
        path: Absolute folder, because a worker's working directory is another one; else as given.
        revision: Commit of the hub; None: a folder or a miniature.
        kind: Encoder or decoder; None: neither given nor needed nor known.
        method: As given, else that of its kind.
        learning_rate: As given, else that of its method.
        checkpoint: What its files tell; None: a miniature, or a hub id that is not cached.
    """

    model: BaseModel
    identity: str
    path: str
    revision: str | None
    kind: ModelKind | None
    method: Method
    learning_rate: float
    checkpoint: Checkpoint | None


def resolve_models(
    experiment: Experiment, dataset: Dataset, held_out: frozenset[str]
) -> list[ResolvedModel]:
    """Find every base model of an experiment, in its order.

    The hub is asked for a commit where none is pinned, and for config.json and the tokenizer's
    small files where the kind has to be derived; weights are not downloaded.

    Args:
        experiment: Names them.
        dataset: What miniatures must not be pre-trained on.
        held_out: Texts of its test rows.

    Raises:
        InputError: Folders or repositories that are missing or cannot be loaded, and kinds that
            cannot be derived; all together.
    """
    found, problems = [], []
    for model in experiment.models:
        try:
            if model.miniature:
                corpus = corpus_identity(experiment.pretraining, dataset.fingerprint, held_out)
                found.append(
                    _settled(model, identify_miniature(model.miniature, corpus), None, None)
                )
            else:
                found.append(_find(model))
        except InputError as error:
            problems += [f"base model {model.name!r}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return found


def _find(model: BaseModel) -> ResolvedModel:
    revision = resolve_revision(model)
    known = identify(model.model_copy(update={"revision": revision}))
    needed = model.kind is None and model.method is None
    folder = None
    if revision != UNRESOLVED:
        folder = find_metadata_folder(model, revision, download=needed)
    elif needed:
        raise InputError(
            f"the hub cannot be asked for {model.path!r} and no copy of "
            "it is cached, so what it is cannot be derived; connect, or give `kind`: encoder or "
            "decoder"
        )
    checkpoint = read_checkpoint(folder) if folder else None
    if folder and revision is None:
        check_files(folder)
    return _settled(model, known, revision, checkpoint)


def _settled(
    model: BaseModel, known: str, revision: str | None, checkpoint: Checkpoint | None
) -> ResolvedModel:
    """With kind, method and learning rate."""
    if checkpoint and checkpoint.kind and model.kind not in (None, checkpoint.kind):
        raise InputError(
            f"kind is given as {model.kind}, but its config.json "
            f"({checkpoint.model_type}) is that of a {checkpoint.kind}; drop `kind`"
        )
    kind = model.kind or (checkpoint.kind if checkpoint else None)
    method = model.method or (METHOD_OF[kind] if kind else None)
    if method is None:
        named = checkpoint.model_type if checkpoint else model.path
        raise InputError(
            f"whether {named!r} is an encoder or a decoder cannot be "
            "derived from its config.json; give `kind`: encoder or decoder"
        )
    rate = model.learning_rate or LEARNING_RATE_OF[method]
    path = _absolute_path(model.path)
    return ResolvedModel(model, known, path, revision, kind, method, rate, checkpoint)


def _absolute_path(path: str) -> str:
    folder = find_local_folder(path)
    return str(folder.absolute()) if folder else path
