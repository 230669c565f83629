"""Counts how often a process reads data and draws the rows of an experiment."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from xlt.data.dataset.draws import Draw, draw
from xlt.data.sources import registry
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.reading import Reading
from xlt.data.sources.registry import read_source
from xlt.sweep.planning import prepare


class Counted:
    """Reads by source, and draws by what was drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: Counter[str] = Counter()
        self.draws: Counter[str] = Counter()
        monkeypatch.setattr(registry, "read_source", self._read)
        monkeypatch.setattr(prepare, "draw", self._draw)

    def expect_once(self, num_draws: int) -> None:
        """The data were read once, and each of so many sets of rows was drawn once."""
        assert list(self.reads.values()) == [1], self.reads
        assert list(self.draws.values()) == [1] * num_draws, self.draws
        self.reads.clear()
        self.draws.clear()

    def _read(self, options: SourceOptions, *arguments: Any, **how: Any) -> Reading:
        self.reads[options.source] += 1
        return read_source(options, *arguments, **how)

    def _draw(self, dataset: Any, *asked: Any) -> Draw:
        self.draws[repr(asked)] += 1
        return draw(dataset, *asked)
