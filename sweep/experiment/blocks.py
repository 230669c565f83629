"""Blocks of an experiment file: the task, and the storage of results."""

from __future__ import annotations

import pydantic

from xlt.data.core.settings import Settings
from xlt.data.dataset.source_langs import ParsedSourceLang
from xlt.trainables.spec.methods import KeepModels


class Task(Settings):
    """The classification task, and the language from which it is transferred."""

    positive: str = "positive"
    """Name of class 1 in tables."""
    source_lang: ParsedSourceLang = "en"
    """Language of the source rows; patterns name the target languages. With a list, every pattern
    with source rows exists once for each language, named en:ja16 and de:ja16."""
    prevalence: float | None = pydantic.Field(default=None, gt=0, lt=1, strict=True)
    """Share of class 1 among the texts that the model is for, e.g. 0.02; it changes no trial.
    Reports say below Table 3 what the scores would be at it."""


class StorageSettings(Settings):
    """Where results are written, and which weights and texts are kept."""

    results: str = "results"
    """Local folder or pyarrow.fs URI (file, s3, gs); experiments may share it."""
    keep_models: KeepModels = "none"
    """Weights to keep in result folders: none; adapters with their heads (LoRA trials); all; or
    those of the trial with the lowest training loss in each cell (best)."""
    checkpoint_minutes: float | None = pydantic.Field(default=10.0, ge=0, strict=True)
    """Least time between two checkpoints of a running trial. A killed trial resumes from the last
    one; a done trial removes its checkpoints. None: no checkpoints. 0: one after every step."""
    keep_texts: bool = True
    """Whether the texts of the drawn rows are written beside the plan, so that the page can show
    rows that trials classify wrongly; false if their licence forbids copies."""
