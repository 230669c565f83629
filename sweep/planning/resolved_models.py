"""Resolve the base models of an experiment: their weights, and settings that are derived."""

from __future__ import annotations

from dataclasses import dataclass

from xlt.data.core.errors import InputError
from xlt.data.corpora.registry import corpus_identity
from xlt.data.dataset.schema import Dataset
from xlt.sweep.experiment.experiment import Experiment
from xlt.trainables.models.architectures import (
    ModelKind,
    describe_encoder,
    describe_virtual_tokens,
    describe_without_biases,
)
from xlt.trainables.models.base_models import (
    LEARNING_RATE_OF,
    METHOD_OF,
    BaseModel,
    find_local_folder,
    identify,
)
from xlt.trainables.models.hub import UNRESOLVED, find_metadata_folder, resolve_revision
from xlt.trainables.models.miniatures import find_miniature, identify_miniature
from xlt.trainables.models.weights_folder import Checkpoint, check_files, read_checkpoint
from xlt.trainables.spec.adapters import Lora
from xlt.trainables.spec.methods import BASELINES, Method
from xlt.trainables.spec.trial_spec import NO_BASE_MODEL


@dataclass(frozen=True)
class ResolvedModel:
    """A base model of an experiment with everything that the experiment leaves open.

    Attributes:
        model: The base model as the experiment names it.
        identity: Identity of the weights in trial ids, see :func:`identify`.
        path: Absolute path of a local folder, because workers run in other folders; else as given.
        revision: Commit on the hub; None for a folder or a miniature.
        kind: Encoder or decoder; None if it is not given, not needed and not known.
        method: The given method, else the method of its kind.
        learning_rate: The given learning rate, else that of its method; None for a baseline.
        checkpoint: Facts from its files; None for a hub id that is not cached.
    """

    model: BaseModel
    identity: str
    path: str
    revision: str | None
    kind: ModelKind | None
    method: Method
    learning_rate: float | None
    checkpoint: Checkpoint | None


def resolve_models(
    experiment: Experiment, dataset: Dataset, held_out: frozenset[str]
) -> list[ResolvedModel]:
    """Resolve every base model of an experiment, in its order.

    The hub is asked for a commit if none is pinned, and for config.json and small files of the
    tokenizer if the kind has to be derived. Weights are not downloaded.

    Args:
        experiment: The experiment that names the base models.
        dataset: The data set, whose texts may be a part of what miniatures are pre-trained on.
        held_out: Texts of its test rows, on which no miniature is pre-trained.

    Raises:
        InputError: Folders or repositories are missing or cannot be loaded, or kinds cannot be
            derived; all problems together.
    """
    models, problems = [], []
    for model in experiment.models:
        try:
            if not model.has_base_model:
                models.append(_complete(model, NO_BASE_MODEL, None, None))
            elif model.miniature:
                corpus = corpus_identity(experiment.pretraining, dataset.fingerprint, held_out)
                identity = identify_miniature(model.miniature, corpus)
                checkpoint = find_miniature(model.miniature).checkpoint
                models.append(_complete(model, identity, None, checkpoint))
            else:
                models.append(_resolve(model))
        except InputError as error:
            problems += [f"base model {model.name!r}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return models


def _resolve(model: BaseModel) -> ResolvedModel:
    revision = resolve_revision(model)
    identity = identify(model.model_copy(update={"revision": revision}))
    needed = model.kind is None and model.method is None
    folder = None
    if revision != UNRESOLVED:
        folder = find_metadata_folder(model, revision, download=needed)
    elif needed:
        raise InputError(
            f"the hub cannot be asked for {model.path!r} and no copy of "
            "it is cached, so its kind cannot be derived; connect, or give `kind`: encoder or "
            "decoder"
        )
    checkpoint = read_checkpoint(folder) if folder else None
    if folder and revision is None:
        check_files(folder)
    return _complete(model, identity, revision, checkpoint)


def _complete(
    model: BaseModel, identity: str, revision: str | None, checkpoint: Checkpoint | None
) -> ResolvedModel:
    """Derive kind, method and learning rate where they are not given."""
    if checkpoint and checkpoint.kind and model.kind not in (None, checkpoint.kind):
        raise InputError(
            f"kind is given as {model.kind}, but its config.json "
            f"({checkpoint.model_type}) says {checkpoint.kind}; remove `kind`"
        )
    kind = model.kind or (checkpoint.kind if checkpoint else None)
    if model.method == "prompt" and kind == "encoder":
        raise InputError(describe_encoder(checkpoint.model_type if checkpoint else model.name))
    method = model.method or (METHOD_OF[kind] if kind else None)
    if kind == "decoder" and model.peft.peft_type in ("PROMPT_TUNING", "P_TUNING"):
        named = checkpoint.model_type if checkpoint else model.name
        raise InputError(describe_virtual_tokens(named, model.peft.peft_type))
    if method not in (None, "lora") and model.lora != Lora():
        raise InputError(
            f"lora settings are given and the method is {method}; remove them, or give method: lora"
        )
    if method == "bitfit" and checkpoint and checkpoint.has_biases is False:
        raise InputError(describe_without_biases(checkpoint.model_type))
    if method is None:
        named = checkpoint.model_type if checkpoint else model.path
        raise InputError(
            f"whether {named!r} is an encoder or a decoder cannot be "
            "derived from its config.json; give `kind`: encoder or decoder"
        )
    rate = None if method in BASELINES else model.learning_rate or LEARNING_RATE_OF.get(method)
    if rate is None and method not in BASELINES:
        raise InputError(f"method {method} has no default learning_rate; give one")
    path = _make_absolute(model.path) if model.has_base_model else ""
    return ResolvedModel(model, identity, path, revision, kind, method, rate, checkpoint)


def _make_absolute(path: str) -> str:
    folder = find_local_folder(path)
    return str(folder.absolute()) if folder else path
