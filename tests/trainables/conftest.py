"""Fixtures of tests that train."""

from __future__ import annotations

import pytest
import torch
from staged_specs import MakeSpec, make_large_specs


@pytest.fixture
def one_thread() -> None:
    """Let torch compute in one thread, so that equal trials have equal bytes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def make_large(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> MakeSpec:
    """Make specs whose BERT has more embeddings than the texts use."""
    return make_large_specs(make_spec, tmp_path_factory.mktemp("large"))
