"""The hub: what is asked of it, and how it is told that a base model cannot be had."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_server import COMMIT, Hub

from data.errors import InputError
from trainables import hub as ours
from trainables.base_models import BaseModel
from trainables.spec import TrialSpec
from trainables.trial import run_trial


def model(path: str, **fields: Any) -> BaseModel:
    return BaseModel(name="own", path=path, **fields)


def told(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_a_commit_is_asked_for_unless_it_is_pinned(hub: Hub) -> None:
    assert ours.resolve_revision(model("org/llama")) == COMMIT
    assert ours.resolve_revision(model("org/llama", revision="main")) == COMMIT
    hub.asked.clear()
    assert ours.resolve_revision(model("org/llama", revision="b" * 40)) == "b" * 40
    assert hub.asked == []


def test_only_what_is_needed_is_downloaded(hub: Hub, tmp_path: Path) -> None:
    (hub.folders["org/llama"] / "pytorch_model.bin").write_bytes(b"pickle")
    (hub.folders["org/llama"] / "modeling.py").write_text("raise SystemExit")
    try:
        small = ours.metadata_folder(model("org/llama"), COMMIT, download=True)
        assert small and not (small / "model.safetensors").exists()
        assert (small / "config.json").is_file() and (small / "tokenizer.json").is_file()
        whole = ours.loadable_folder("org/llama", COMMIT)
    finally:
        (hub.folders["org/llama"] / "pytorch_model.bin").unlink()
        (hub.folders["org/llama"] / "modeling.py").unlink()
    names = {file.name for file in whole.iterdir()}
    assert "model.safetensors" in names
    assert not {name for name in names if name.endswith((".bin", ".py"))}
    hub.asked.clear()
    assert ours.loadable_folder("org/llama", COMMIT) == whole
    assert hub.asked == []  # a cached commit is never asked for again


def test_nothing_is_downloaded_where_it_must_not_be(hub: Hub) -> None:
    assert ours.metadata_folder(model("org/llama"), COMMIT, download=False) is None
    assert hub.asked == []


def test_a_trial_runs_on_a_hub_id_and_equals_that_on_the_folder(
    hub: Hub, make_spec: Callable[..., TrialSpec], tiny_dataset: Any
) -> None:
    plain = make_spec("llama")
    there = plain.model_copy(
        update={"base_path": "org/llama", "revision": COMMIT, "base_identity": "hub:org/llama@a"}
    )
    expected = run_trial(plain, tiny_dataset).history
    assert run_trial(there, tiny_dataset).history.equals(expected)


@pytest.mark.parametrize("ask", ["metadata", "weights"])
def test_gated_without_access(ask: str, hub: Hub) -> None:
    hub.gated.add("org/llama")
    message = told(
        (lambda: ours.loadable_folder("org/llama", COMMIT))
        if ask == "weights"
        else lambda: ours.metadata_folder(model("org/llama"), COMMIT, download=True)
    )
    assert message.startswith("'org/llama' is gated and this machine's token has no access; accept")
    assert "huggingface.co/org/llama, then `hf auth login` or set HF_TOKEN" in message


def test_no_such_repository(hub: Hub) -> None:
    for call in (
        lambda: ours.resolve_revision(model("org/lama")),
        lambda: ours.loadable_folder("org/lama", COMMIT),
    ):
        assert "the hub has no repository 'org/lama', or it is private" in told(call)
    assert "has no repository 'a/b/c'" in told(lambda: ours.resolve_revision(model("a/b/c")))


def test_no_such_revision(hub: Hub) -> None:
    message = told(lambda: ours.resolve_revision(model("org/llama", revision="v9")))
    assert message == "'org/llama' has no revision 'v9' on the hub; mend it"


@pytest.mark.parametrize("how", ["offline mode", "no connection"])
def test_without_a_hub(how: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    whole = ours.loadable_folder("org/bert", COMMIT)
    if how == "offline mode":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        at_once = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)  # it tries five times
    assert ours.loadable_folder("org/bert", COMMIT) == whole
    assert ours.resolve_revision(model("org/llama")) == ours.UNRESOLVED
    message = told(lambda: ours.loadable_folder("org/llama", COMMIT))
    assert "'org/llama' is not wholly cached and the hub cannot be asked (" in message
    assert f"`hf download org/llama --revision {COMMIT}`" in message
