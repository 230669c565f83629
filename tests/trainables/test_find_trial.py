"""Finding a done trial that kept its model, and its base model where it lies now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kept_models import run_kept
from result_folders import make_plan, make_results, save_done

from xlt.data.core.errors import InputError
from xlt.trainables.results.find_trial import find_trial
from xlt.trainables.results.result import Results


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, experiment_file: Path) -> str:
    return run_kept(experiment_file, tmp_path_factory.mktemp("kept") / "results")


def told(*arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        find_trial(*arguments, **options)
    return str(caught.value)


def test_every_way_finds_the_same_trial(kept: str) -> None:
    found = find_trial(kept, model="llama", pattern="ja8", seed=0)
    assert found.trial_id.startswith("llama-ja8-s0-")
    assert found.classes == ("not news", "news")
    assert list(found.files) == ["model/adapter_model.safetensors"]
    assert find_trial(f"{kept}/trials/{found.trial_id}/") == found
    assert find_trial(f"file://{kept}/trials/{found.trial_id}").spec == found.spec
    for trial_id in (found.trial_id, "llama", "l"):
        assert find_trial(kept, trial_id) == found
    assert find_trial(kept, model="llama") == found


def test_what_is_refused(kept: str, tmp_path: Path) -> None:
    assert "a trial is named in one way" in told(kept)
    assert "a trial is named in one way" in told(kept, "llama", model="llama")
    assert "a trial is named in one way" in told(f"{kept}/trials/llama", "llama")
    trial_id = find_trial(kept, "llama").trial_id
    near = told(kept, trial_id.replace("llama", "lama"))
    assert (
        f"unknown trial {trial_id.replace('llama', 'lama')!r} among 3. Nearest: {trial_id}" in near
    )
    assert "unknown model 'lama'. Did you mean 'llama'?" in told(kept, model="lama")
    assert "unknown pattern 'ja80'" in told(kept, model="llama", pattern="ja80")
    assert "unknown seed '7'. Known: 0." in told(kept, model="llama", seed=7)
    assert "3 trials have pattern=ja8, seed=0: llama-" in told(kept, pattern="ja8", seed=0)
    assert "unknown trial 'x' among 0." in told(str(tmp_path), "x")
    assert "holds no experiment" in told(str(tmp_path), model="llama")
    (tmp_path / "notes.txt").write_text("not ours")
    assert "holds other files" in told(str(tmp_path), "x")


def test_a_trial_that_kept_no_model(kept: str) -> None:
    problem = told(kept, model="bert")
    assert "the trial kept no model" in problem
    assert "storage.keep_models=all" in problem
    assert "/trials/bert-ja8-s0-" in problem


def test_trials_that_are_not_done(tmp_path: Path) -> None:
    results = make_results(tmp_path / "a", make_plan(seeds=[0, 1]))
    done = save_done(results, "elyza", "ja16", 0, {"f1": 0.5})
    assert "the trial is absent; `xlt run` finishes it" in told(results.uri, model="elyza", seed=1)
    folder = Path(results.uri) / "trials" / done
    (folder / "history.parquet").unlink()
    assert "the trial is corrupt: history.parquet has None bytes" in told(str(folder))
    other = done.replace("-s0-", "-s1-")
    folder.rename(folder.parent / other)
    assert "2 trials begin with" not in told(results.uri, "elyza")
    (folder.parent / done).mkdir()
    assert "2 trials begin with 'elyza'" in told(results.uri, "elyza")


def test_a_base_model_that_was_moved(
    kept: str, tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    where, away = tiny_base("llama"), tmp_path / "away"
    where.rename(away)
    try:
        problem = told(kept, model="llama")
        assert (
            f"base model 'llama' is no longer in {str(where)!r}; give its present folder" in problem
        )
        found = find_trial(kept, model="llama", base_path=str(away))
        assert found.spec.base_path == str(away)
        assert found.spec.trial_id == Results(kept).trial_ids()[-1]
        changed = tmp_path / "changed"
        shutil.copytree(away, changed)
        config = (changed / "config.json").read_text()
        (changed / "config.json").write_text(config + " ")
        assert "differ from base model 'llama'" in told(kept, model="llama", base_path=str(changed))
        assert "is no folder" in told(kept, model="llama", base_path=str(tmp_path / "none"))
    finally:
        away.rename(where)
