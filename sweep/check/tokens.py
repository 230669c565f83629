"""Tokens of texts and prompts, by the tokenizer of their base model; imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt.data.core.errors import InputError
from xlt.sweep.planning.grid import Grid
from xlt.sweep.planning.translations import list_directions
from xlt.trainables.baselines.prompt_scores import shares_beginning
from xlt.trainables.baselines.prompt_tokens import Prompts, encode_prompts
from xlt.trainables.loading.base import Base
from xlt.trainables.loading.tokenize import tokenize
from xlt.trainables.loading.tokenizer import load_tokenizer
from xlt.trainables.models.model_config import read_config
from xlt.trainables.models.tokenizer_files import list_tokenizer_problems
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.rows import draw_rows


@dataclass(frozen=True)
class TextTokens:
    """Tokens of the rows that a grid draws.

    Attributes:
        lengths: Number of tokens of each row and translation, after truncation.
        num_training_tokens: Number of different tokens in all training rows.
    """

    lengths: list[int]
    num_training_tokens: int


def count_tokens(grid: Grid, folder: Path, max_length: int) -> TextTokens | None:
    """Tokenise all rows that a grid draws, with the translations that it reads.

    Args:
        grid: The trials.
        folder: Folder with the small files of a base model.
        max_length: Number of tokens to which a row is cut.

    Returns:
        None if the tokenizer is not on this machine.
    """
    tokenizer = _find_tokenizer(folder)
    if tokenizer is None:
        return None
    trained = {row_id for draw in grid.draws for row_id in draw.train}
    ids = trained | {row_id for draw in grid.draws for row_id in draw.test}
    dataset = grid.dataset
    tables = [dataset.rows(sorted(ids))]
    for direction in list_directions(grid.experiment):
        translated = dataset.translations.find(direction).keys() & ids
        tables.append(dataset.translations.read(dataset.rows(sorted(translated)), direction))
    rows = pa.concat_tables(tables)
    paired = rows["text_pair"].null_count == 0
    encoded, _ = tokenize(
        Base(tokenizer, model=None, head_modules=()),
        rows["text"].to_pylist(),
        rows["text_pair"].to_pylist() if paired else None,
        max_length,
    )
    used = {
        token
        for row_id, tokens in zip(rows["id"].to_pylist(), encoded, strict=True)
        if row_id in trained
        for token in tokens
    }
    return TextTokens([len(tokens) for tokens in encoded], len(used))


def make_prompts(grid: Grid, folder: Path, spec: TrialSpec) -> Prompts | None:
    """Make the prompts of a trial of a grid; ``folder`` as in :func:`count_tokens`.

    Returns:
        None if the tokenizer is not on this machine.

    Raises:
        InputError: The prompts cannot be made.
    """
    tokenizer = _find_tokenizer(folder)
    if tokenizer is None:
        return None
    return encode_prompts(
        tokenizer,
        spec,
        grid.dataset.classes,
        *draw_rows(grid.dataset, spec),
        shares_beginning=shares_beginning(read_config(folder)["model_type"]),
    )


def _find_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a folder; None if it is not on this machine."""
    names = {file.name for file in folder.iterdir()}
    if list_tokenizer_problems(str(folder), names, folder):  # large files are not downloaded
        return None
    try:
        return load_tokenizer(folder)
    except InputError:  # raised for missing files
        return None
