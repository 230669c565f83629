"""The hub: what is asked of it, and how it is told that a base model cannot be had."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_server import COMMIT, Hub

from xlt.data.core.errors import InputError
from xlt.trainables.models import hub as ours
from xlt.trainables.models.base_models import BaseModel
from xlt.trainables.models.model_config import read_config
from xlt.trainables.spec.trial_spec import TrialSpec
from xlt.trainables.trial.run_trial import run_trial


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
        small = ours.find_metadata_folder(model("org/llama"), COMMIT, download=True)
        assert small and not (small / "model.safetensors").exists()
        assert (small / "config.json").is_file() and (small / "tokenizer.json").is_file()
        whole = ours.find_loadable_folder("org/llama", COMMIT)
    finally:
        (hub.folders["org/llama"] / "pytorch_model.bin").unlink()
        (hub.folders["org/llama"] / "modeling.py").unlink()
    names = {file.name for file in whole.iterdir()}
    assert "model.safetensors" in names
    assert not {name for name in names if name.endswith((".bin", ".py"))}
    hub.asked.clear()
    assert ours.find_loadable_folder("org/llama", COMMIT) == whole
    assert hub.asked == []  # a cached commit is never asked for again


def test_nothing_is_downloaded_where_it_must_not_be(hub: Hub) -> None:
    assert ours.find_metadata_folder(model("org/llama"), COMMIT, download=False) is None
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
        (lambda: ours.find_loadable_folder("org/llama", COMMIT))
        if ask == "weights"
        else lambda: ours.find_metadata_folder(model("org/llama"), COMMIT, download=True)
    )
    assert message.startswith("'org/llama' is gated and this machine's token has no access; accept")
    assert f"{hub.endpoint}/org/llama, then `hf auth login` or set HF_TOKEN" in message


def test_no_such_repository(hub: Hub) -> None:
    for call in (
        lambda: ours.resolve_revision(model("org/lama")),
        lambda: ours.find_loadable_folder("org/lama", COMMIT),
    ):
        assert "the hub has no repository 'org/lama', or it is private" in told(call)
    assert "has no repository 'a/b/c'" in told(lambda: ours.resolve_revision(model("a/b/c")))


def test_no_such_revision(hub: Hub) -> None:
    message = told(lambda: ours.resolve_revision(model("org/llama", revision="v9")))
    assert message == "'org/llama' has no revision 'v9' on the hub; correct it"


@pytest.mark.parametrize("how", ["offline mode", "no connection"])
def test_without_a_hub(how: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    whole = ours.find_loadable_folder("org/bert", COMMIT)
    if how == "offline mode":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        at_once = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)  # it tries five times
    assert ours.find_loadable_folder("org/bert", COMMIT) == whole
    assert ours.resolve_revision(model("org/llama")) == ours.UNRESOLVED
    message = told(lambda: ours.find_loadable_folder("org/llama", COMMIT))
    assert "'org/llama' is not completely cached and the hub cannot be reached (" in message
    assert f"`hf download org/llama --revision {COMMIT}`" in message
    found = ours.list_hub_files("org/bert", COMMIT)
    assert (found.where, found.folder) == ("cached", whole)
    assert told(lambda: ours.list_hub_files("org/llama", COMMIT)) == message


# --- what is there, before it is downloaded ---------------------------------------------------


@pytest.fixture
def own(hub: Hub, tiny_base: Callable[[str], Path], tmp_path: Path) -> Path:
    """The files of org/own, which a test may change."""
    hub.folders["org/own"] = Path(shutil.copytree(tiny_base("bert"), tmp_path / "own"))
    return hub.folders["org/own"]


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_what_the_hub_has_is_counted_and_not_downloaded(
    revision: str | None, own: Path, hub: Hub
) -> None:
    (own / "flax_model.msgpack").write_bytes(b"0" * 10**6)
    (own / "pytorch_model.bin").write_bytes(b"0" * 10**6)
    found = ours.list_hub_files("org/own", revision)
    assert found.where == "hub"
    assert read_config(found.folder)["model_type"] == "bert"
    # The small files were fetched; weights of other frameworks never are.
    assert found.to_download == (own / "model.safetensors").stat().st_size
    assert found.sizes["model.safetensors"] == found.to_download
    assert not {"flax_model.msgpack", "pytorch_model.bin"} & set(found.sizes)
    assert not list(found.folder.glob("*.safetensors"))


def test_a_whole_copy_is_not_asked_for_again(own: Path, hub: Hub) -> None:
    whole = ours.find_loadable_folder("org/own", COMMIT)
    hub.asked.clear()
    found = ours.list_hub_files("org/own", COMMIT)
    assert (found.where, found.folder, found.to_download) == ("cached", whole, 0)
    assert found.sizes == {file.name: file.stat().st_size for file in whole.iterdir()}
    assert hub.asked == []


def test_a_damaged_copy_is_told(own: Path) -> None:
    weights = ours.find_loadable_folder("org/own", COMMIT) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "it is incomplete or damaged" in told(lambda: ours.list_hub_files("org/own", COMMIT))


def test_what_is_on_the_hub_and_cannot_be_loaded(own: Path) -> None:
    (own / "model.safetensors").rename(own / "pytorch_model.bin")
    (own / "tokenizer.json").rename(own / "vocab.txt")
    options = {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "no_such_words"}}
    (own / "tokenizer_config.json").write_text(json.dumps(options))
    with pytest.raises(InputError) as caught:
        ours.list_hub_files("org/own", COMMIT)
    *packages, weights = caught.value.problems
    assert "its tokenizer needs no_such_words, which is not installed" in packages[-1]
    assert "'org/own' holds its weights as pickle only (pytorch_model.bin)" in weights


def test_a_tokenizer_of_which_only_the_name_is_known(own: Path, hub: Hub) -> None:
    (own / "tokenizer.json").unlink()
    message = told(lambda: ours.list_hub_files("org/own", COMMIT))
    assert "'org/own' holds no tokenizer (tokenizer.json, " in message
    (own / "vocab.json").write_text("{}")
    hub.folders["org/same"] = own  # a listing of a commit is kept
    assert ours.list_hub_files("org/same", COMMIT).where == "hub"


def test_the_hub_refuses_to_tell(hub: Hub) -> None:
    hub.gated.add("org/llama")
    assert "is gated" in told(lambda: ours.list_hub_files("org/llama", COMMIT))
    assert "has no repository" in told(lambda: ours.list_hub_files("org/nothing", None))
    assert "has no revision 'v9'" in told(lambda: ours.list_hub_files("org/bert", "v9"))
