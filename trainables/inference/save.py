"""Save the classifier of a finished trial as a folder that transformers loads without us."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xlt.data.core.errors import InputError
from xlt.trainables.inference.explain_kept import SCORE_TOLERANCE
from xlt.trainables.inference.tagging import Tagger
from xlt.trainables.loading.base import Texts
from xlt.trainables.loading.config import RENAMED
from xlt.trainables.loading.head import init_head
from xlt.trainables.loading.tokenize import tokenize
from xlt.trainables.models.hub import find_loadable_folder
from xlt.trainables.models.model_config import ADAPTER_CONFIG, CONFIG
from xlt.trainables.results.find_trial import FinishedTrial
from xlt.trainables.results.result import Results
from xlt.trainables.training.loop import predict
from xlt.trainables.trial.model_files import (
    CLASSIFIER_CONFIG,
    name_classes,
    save_adapter,
    save_config,
    save_tokenizer,
)

HUB = "hub:"
"""Prefix of the identity of a base model from the hub."""
NUM_COMPARED = 64
"""Texts on which the saved classifier is compared with the trial: one batch."""

Form = Literal["full", "adapter", "adapter and base", "merged"]
"""Weights in a folder: all that were trained; the adapter alone, whose base model is on the hub;
the adapter and the weights of its base model; or their sum."""


@dataclass(frozen=True)
class SavedClassifier:
    """A saved classifier, and how it compares with the trial.

    Attributes:
        form: Weights in the folder.
        compared: Phrase on what was scored: the number and kind of texts.
        difference: Largest difference of a score between the folder, as transformers loads it, and
            the trial.
    """

    form: Form
    compared: str
    difference: float


def find_form(trial: FinishedTrial, merge: bool, with_base: bool) -> Form:
    """Find the weights that a folder of a trial holds.

    Without ``with_base`` an adapter is alone only if its base model is on the hub: nobody else
    could load it.

    Raises:
        InputError: ``merge`` or ``with_base`` of a trial without an adapter, both of them, or
            ``merge`` with a base model in 4 bits.
    """
    if merge and with_base:
        raise InputError("a merged model holds its base model; give one of --merge and --with-base")
    has_adapter = any("adapter" in name for name in trial.files)
    if (merge or with_base) and not has_adapter:
        option = "--merge" if merge else "--with-base"
        raise InputError(
            f"{option} is for trials with an adapter; the trial has method {trial.spec.method}, "
            "whose weights are all in the folder"
        )
    if merge and trial.spec.peft:
        raise InputError(
            f"peft adds adapters of type {trial.spec.peft.peft_type} to no weights, or adds them "
            "wrongly; export the adapter",
            "--merge",
        )
    if merge and trial.spec.quantize_base:
        raise InputError(
            "the adapter was trained on a base model in 4 bits, to which it cannot be added "
            "without new rounding; export the adapter",
            "--merge",
        )
    if not has_adapter:
        return "full"
    if merge:
        return "merged"
    return "adapter" if find_hub_base(trial) and not with_base else "adapter and base"


def find_hub_base(trial: FinishedTrial) -> str:
    """Hub id of a trial's base model; empty if the base model is not on the hub."""
    name, _, _ = trial.spec.base_identity.removeprefix(HUB).partition("@")
    return name if trial.spec.base_identity.startswith(HUB) else ""


def save_classifier(
    trial: FinishedTrial,
    folder: Path,
    *,
    merge: bool = False,
    with_base: bool = False,
    repository: str = "",
    texts: Mapping[str, Texts] | None = None,
) -> SavedClassifier:
    """Save weights, config and tokenizer of a trial, load them again, and compare the scores.

    Args:
        trial: Trial that kept its model.
        folder: Empty folder to write into.
        merge: Whether to add the adapter to the weights of the base model.
        with_base: Whether to save the weights of a hub's base model beside the adapter.
        repository: Hub id under which the folder will be uploaded; empty: none.
        texts: Row id -> texts of the experiment's rows; None: they are not kept.

    Raises:
        InputError: :func:`find_form` refuses the trial, its model cannot be loaded, or the saved
            classifier has other scores than the trial.
    """
    form = find_form(trial, merge, with_base)
    tagger = Tagger.load(trial)
    ids, expected, compared = _choose_texts(tagger, texts or {})
    _write(tagger, folder, form, repository)
    del tagger
    # In fp32 as a pipeline computes, not in the mixed precision of a trial on a GPU.
    training = trial.spec.training.model_copy(update={"precision": "fp32"})
    plain = trial.spec.model_copy(update={"training": training})
    scores = predict(_load_plainly(trial, folder, form), ids, plain)
    difference = float(np.abs(scores - expected).max())
    if difference > SCORE_TOLERANCE and form != "merged":
        raise InputError(
            f"the saved classifier's scores differ from the trial's by up to {difference:.3f} on "
            f"{compared}: the base model has changed; train the trial again",
            trial.trial_id,
        )
    return SavedClassifier(form, compared, difference)


def _choose_texts(
    tagger: Tagger, texts: Mapping[str, Texts]
) -> tuple[list[list[int]], NDArray[np.float64], str]:
    """Token ids of the texts to compare, the trial's scores of them, and what they are."""
    trial, base = tagger.trial, tagger.base
    try:
        written = Results(trial.uri).read_table(trial.trial_id, "predictions")
        rows = zip(written["id"].to_pylist(), written["y_score"].to_pylist(), strict=True)
        known = [(texts[name], score) for name, score in rows if name in texts][:NUM_COMPARED]
        scores = np.array([score for _, score in known], np.float64)
    except (LookupError, ValueError, TypeError) as error:
        raise InputError(
            "the trial's predictions lack test rows or scores; run it again", trial.trial_id
        ) from error
    if known and not trial.spec.pattern.translate:  # kept texts are the originals
        first = [text for (text, _), _ in known]
        second = [pair for (_, pair), _ in known if pair is not None]
        ids, _ = tokenize(base, first, second or None, trial.spec.training.max_length)
        return ids, scores, f"{len(known)} test rows"
    rng = np.random.default_rng(0)
    usual = sorted({*range(base.tokenizer.vocab_size)} - {*base.tokenizer.all_special_ids})
    longest = min(32, trial.spec.training.max_length)
    lengths = rng.integers(1, longest, NUM_COMPARED, endpoint=True)
    ids = [rng.choice(usual, length).tolist() for length in lengths]
    scores = predict(tagger.model, ids, trial.spec)
    return ids, scores, f"{NUM_COMPARED} sequences of random tokens, because no texts are kept"


def _write(tagger: Tagger, folder: Path, form: Form, repository: str) -> None:
    trial, base, model = tagger.trial, tagger.base, tagger.model
    name_classes(model, trial.classes)
    save_tokenizer(base.tokenizer, trial.spec.training.max_length, model.config, folder)
    if form == "full":
        model.save_pretrained(folder)
        return
    if form == "merged":
        merged = copy.deepcopy(model).merge_and_unload(safe_merge=True)
        merged.save_pretrained(folder)
        save_config(model, folder / CONFIG)
        return
    save_adapter(model, folder)
    hub_base = find_hub_base(trial) if form == "adapter" else ""
    config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
    config["base_model_name_or_path"] = hub_base or repository or trial.spec.base_model
    config["revision"] = trial.spec.revision if hub_base else None
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))
    if form == "adapter and base":
        init_head(base.model, base.head_modules, seed=0)  # the adapter replaces it
        base.model.save_pretrained(folder)
        (folder / CLASSIFIER_CONFIG).replace(folder / CONFIG)


def _load_plainly(trial: FinishedTrial, folder: Path, form: Form) -> Any:
    """Load a saved classifier as a pipeline of transformers does."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    options: dict[str, Any] = {}
    source = folder
    if form == "adapter":  # with the files that the trial used, which the hub may have replaced
        source = find_loadable_folder(trial.spec.base_path, trial.spec.revision)
        options["config"] = AutoConfig.from_pretrained(folder / CLASSIFIER_CONFIG)
        options["key_mapping"] = RENAMED
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            source, trust_remote_code=False, use_safetensors=True, **options
        )
    except ValueError as error:
        if not trial.spec.peft:
            raise
        raise InputError(
            f"transformers loads no adapter of type {trial.spec.peft.peft_type} beside its base "
            f"model ({str(error).partition('. ')[0]}); export trials of a base model of the hub, "
            "or use `xlt predict`"
        ) from error
    if form == "adapter" and trial.spec.peft:
        from peft import PeftModel  # transformers loads some types only

        model = PeftModel.from_pretrained(model, folder)
    elif form == "adapter":
        model.load_adapter(str(folder))
    if not trial.spec.quantize_base and torch.cuda.is_available():
        model.to("cuda")
    return model.eval()
