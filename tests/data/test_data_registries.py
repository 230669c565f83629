"""The contract of every entry in the registries of data."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from xlt.data.core.errors import InputError
from xlt.data.core.registries import load_entry
from xlt.data.corpora.registry import CORPORA
from xlt.data.sources.hub.presets import PRESETS
from xlt.data.sources.options import SourceOptions
from xlt.data.sources.registry import SOURCES, parse_source


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_options_that_name_it_and_reads_with_progress(name: str) -> None:
    module = load_entry(SOURCES, name)
    assert issubclass(module.Options, SourceOptions)
    assert get_args(module.Options.model_fields["source"].annotation) == (name,)
    assert list(inspect.signature(module.read).parameters)[:2] == ["options", "progress"]
    with pytest.raises(InputError, match="unknown key 'pth'"):
        parse_source({"source": name, "pth": "x"})


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_what_the_registry_calls(name: str) -> None:
    module = load_entry(CORPORA, name)
    assert {"Options", "content_digest", "documents", "uses_dataset"} <= set(dir(module))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_options_of_the_hub(name: str) -> None:
    options = load_entry(SOURCES, "hub").Options
    assert set(PRESETS[name]) <= set(options.model_fields) - {"source", "preset"}
