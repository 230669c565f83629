"""Any base model by its hub id or folder: what is derived, overridden and refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fresh_process import modules_after
from hub_server import COMMIT, Hub

from xlt.data.core.errors import InputError
from xlt.sweep.experiment.experiment import Experiment
from xlt.sweep.plan_text.text import describe_plan
from xlt.sweep.planning.grid import Grid, expand
from xlt.sweep.planning.prepare import prepare
from xlt.trainables.models.hub import UNRESOLVED
from xlt.trainables.results.result import Results

VALUES: dict[str, Any] = {"name": "own", "patterns": ["ja0"], "seeds": [0]}
NAMES = {"llama": ("lora", 5e-4), "gpt_neox": ("lora", 5e-4), "bert": ("full", 5e-5)}


def grid(*models: object, **values: Any) -> Grid:
    return expand(prepare(Experiment.parse(VALUES | {"models": list(models)} | values)))


def told(*models: object, **values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        grid(*models, **values)
    return caught.value.problems


def test_a_folder_is_enough(tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [str(shutil.copytree(tiny_base(name), tmp_path / name)) for name in NAMES]
    found = grid(*folders)
    assert [(s.base_model, s.method, s.learning_rate) for s in found.specs] == [
        (name, *expected) for name, expected in NAMES.items()
    ]
    assert [s.base_path for s in found.specs] == folders
    named = grid(*({"name": name, "path": path} for name, path in zip("abc", folders, strict=True)))
    assert [s.base_model for s in named.specs] == ["a", "b", "c"]
    assert [s.base_identity for s in named.specs] == [s.base_identity for s in found.specs]


def test_everything_derived_can_be_said_otherwise(tiny_base: Callable[[str], Path]) -> None:
    path = str(tiny_base("llama"))
    (spec,) = grid({"name": "a", "path": path, "method": "full"}).specs
    assert (spec.method, spec.learning_rate, spec.lora) == ("full", 5e-5, None)
    (spec,) = grid(
        {
            "name": "a", "path": path, "learning_rate": 0.1, "pad_token": "<unk>",
            "lora": {"target_modules": ["q_proj", "layers.1.mlp.up_proj"], "use_dora": True},
        }
    ).specs  # fmt: skip
    assert (spec.learning_rate, spec.pad_token) == (0.1, "<unk>")
    assert spec.lora and spec.lora.target_modules == ("q_proj", "layers.1.mlp.up_proj")


def test_what_is_derived_makes_no_other_trial_than_what_is_said(
    tiny_base: Callable[[str], Path],
) -> None:
    path = str(tiny_base("bert"))
    said = {"name": "a", "path": path, "kind": "encoder", "method": "full", "learning_rate": 5e-5}
    (derived,), (spelt,) = grid({"name": "a", "path": path}).specs, grid(said).specs
    assert derived.trial_id == spelt.trial_id


def test_the_plan_shows_it(tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    text = describe_plan(
        grid(
            {"name": "one", "path": str(tiny_base("llama"))},
            {"name": "two", "path": str(tiny_base("bert"))},
            {"name": "three", "path": str(tiny_base("gpt_neox")),
             "lora": {"target_modules": ["dense"]}, "pad_token": "<unk>"},
        ),
        Results(str(tmp_path)),
    )  # fmt: skip
    table = text[text.index("adapters on") :]
    rows = {line.split()[0]: re.split(r"  +", line) for line in table.splitlines()[1:4]}
    linear = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"
    assert rows["one"][1:2] + rows["one"][3:] == ["decoder", linear, "<s>", "128 tokens"]
    assert rows["two"][1:2] + rows["two"][3:] == ["encoder", "-", "[PAD]", "128 tokens"]
    assert rows["three"][1:2] + rows["three"][3:] == ["decoder", "dense", "<unk>", "128 tokens"]


def test_the_plan_waits_for_neither_torch_nor_ray(
    tiny_base: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(VALUES | {"models": [str(tiny_base("llama"))]}))
    loaded = modules_after(["plan", str(file)], ("torch", "ray", "transformers", "tokenizers"))
    assert loaded == ["tokenizers"]


@pytest.fixture
def unknown_type(tiny_base: Callable[[str], Path], tmp_path: Path) -> str:
    """A checkpoint whose config.json does not tell what it is."""
    folder = Path(shutil.copytree(tiny_base("llama"), tmp_path / "base"))
    config = json.loads((folder / "config.json").read_text())
    changes = {"model_type": "new", "architectures": ["NewModel"]}
    (folder / "config.json").write_text(json.dumps(config | changes))
    return str(folder)


def test_a_kind_that_cannot_be_derived_can_be_given(unknown_type: str) -> None:
    (problem,) = told(unknown_type)
    assert problem == (
        "base model 'base': whether 'new' is an encoder or a decoder cannot be derived from its "
        "config.json; give `kind`: encoder or decoder"
    )
    (spec,) = grid({"path": unknown_type, "kind": "decoder"}).specs
    assert spec.method == "lora"
    (spec,) = grid({"path": unknown_type, "method": "full"}).specs  # needs no kind
    assert spec.learning_rate == 5e-5


def test_all_problems_are_told_together(
    tiny_base: Callable[[str], Path], unknown_type: str, tmp_path: Path
) -> None:
    llama = str(tiny_base("llama"))
    problems = told(
        unknown_type,
        {"name": "contrary", "path": llama, "kind": "encoder"},
        {"name": "nowhere", "path": "./nowhere", "method": "full"},
        str(tmp_path),
    )
    assert len(problems) == 4
    assert problems[1] == (
        "base model 'contrary': kind is given as encoder, but its config.json (llama) says "
        "decoder; remove `kind`"
    )
    assert problems[2] == "base model 'nowhere': no folder './nowhere'; correct the path"
    assert "holds no config.json" in problems[3]


def test_biases_that_a_checkpoint_lacks_are_refused(tiny_base: Callable[[str], Path]) -> None:
    models = [
        {"name": name, "path": str(tiny_base(name)), "method": "bitfit"}
        for name in ("llama", "bert")
    ]
    problem, of_miniature = told(*models, {"name": "mini-llama2", "method": "bitfit"})
    assert problem.startswith("base model 'llama': llama has no biases, which are all that method")
    assert of_miniature == problem.replace("'llama'", "'mini-llama2'", 1)
    assert {(s.method, s.learning_rate) for s in grid(models[1]).specs} == {("bitfit", 1e-3)}


def test_settings_that_do_not_go_with_the_checkpoint(tiny_base: Callable[[str], Path]) -> None:
    models = [
        {"name": "a", "path": str(tiny_base("llama")), "lora": {"target_modules": ["q_prj"]}},
        {"name": "b", "path": str(tiny_base("bert"))},
    ]
    problems = told(*models, training={"max_length": 200}, patterns=["ja0", "ja16"])
    assert problems == [
        "base model 'a': lora.target_modules: unknown module 'q_prj'. Did you mean 'q_proj'? "
        "Known: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj.",
        *(
            f"base model {name!r}: training.max_length 200 is more than the 128 tokens that the "
            "model has positions for; set it to at most 128, in an override for this model only"
            for name in "ab"
        ),
    ]
    cut = [{"match": {"model": name}, "training": {"max_length": 128}} for name in "ab"]
    models[0].pop("lora")
    assert {s.training.max_length for s in grid(*models, overrides=cut).specs} == {128}


def test_settings_that_do_not_go_with_a_miniature_or_its_modules(
    tiny_base: Callable[[str], Path],
) -> None:
    ranks = {"q_prj": 4, "layers.1.v_proj": 4, "layers.[01].*k_prj": 4}
    lora = {"rank_pattern": ranks, "alpha_pattern": {"score": 8}}
    problems = told(
        {"name": "a", "path": str(tiny_base("llama")), "lora": lora},
        {"name": "mini-llama2", "lora": {"rank_pattern": {"q_prj": 4}}},
        {
            "name": "mini-elyza",
            "lora": {"target_modules": ["q_proj"], "layers_to_transform": [0, 2]},
        },
        overrides=[{"match": {"model": "mini-llama2"}, "training": {"max_length": 513}}],
    )
    assert [problem.partition(". ")[0] for problem in problems] == [
        "base model 'a': lora.rank_pattern: unknown module 'q_prj'",
        "base model 'a': lora.alpha_pattern: unknown module 'score'",
        "base model 'mini-llama2': lora.rank_pattern: unknown module 'q_prj'",
        "base model 'mini-llama2': training.max_length 513 is more than the 512 tokens that the "
        "model has positions for; set it to at most 512, in an override for this model only",
        "base model 'mini-elyza': lora.layers_to_transform: there is no layer 2; the model has the "
        "layers 0 to 1",
    ]


def test_a_hub_id_is_enough(hub: Hub, tiny_base: Callable[[str], Path]) -> None:
    found = grid("org/bert", {"name": "own", "path": "org/llama"})
    assert [(s.base_model, s.method, s.learning_rate, s.base_identity) for s in found.specs] == [
        ("bert", "full", 5e-5, f"hub:org/bert@{COMMIT}"),
        ("own", "lora", 5e-4, f"hub:org/llama@{COMMIT}"),
    ]
    kinds = [
        (c.resolved.kind, c.resolved.checkpoint and c.resolved.checkpoint.pad_token)
        for c in found.cells
    ]
    assert kinds == [("encoder", "[PAD]"), ("decoder", "<s>")]
    assert not [path for path in hub.asked if "safetensors" in path]
    hub.asked.clear()
    grid({"path": "org/gpt", "kind": "decoder", "revision": COMMIT})
    assert hub.asked == []  # nothing is left to ask


def test_a_hub_id_that_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "xlt.sweep.planning.resolved_models.resolve_revision", lambda model: UNRESOLVED
    )
    (problem,) = told("org/name")
    assert problem == (
        "base model 'name': the hub cannot be asked for 'org/name' and no copy of it is cached, so "
        "its kind cannot be derived; connect, or give `kind`: encoder or decoder"
    )
    (spec,) = grid({"path": "org/name", "kind": "encoder"}).specs
    assert (spec.base_model, spec.method, spec.revision) == ("name", "full", UNRESOLVED)


def test_another_path_for_a_known_name_keeps_no_revision(tiny_base: Callable[[str], Path]) -> None:
    experiment = Experiment.parse(
        VALUES | {"models": [{"name": "llama2", "path": "mirror/llama"}, "opencalm"]}
    )
    assert [m.revision for m in experiment.models[:1]] == [None]
    assert experiment.models[1].revision
    (spec,) = grid({"name": "llama2", "path": str(tiny_base("bert"))}).specs
    assert (spec.base_model, spec.method) == ("llama2", "full")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["mbrt"], "Did you mean 'mbert'? Known: "),
        (["mbrt"], "For another base model give its hub id (org/name) or its folder."),
        ([3], "3 is neither a known name, a hub id, a folder, nor {name, path}"),
        (["a/same", "b/same"], "same given more than once"),
        ([{"name": "a"}], "path: is required"),
        ([{"name": "a", "path": "b/c", "knd": "encoder"}], "Did you mean 'kind'?"),
        ([{"name": "a", "path": "b/c", "kind": "both"}], "kind: should be 'encoder' or 'decoder'"),
    ],
)
def test_bad_models_are_told(models: list[Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Experiment.parse(VALUES | {"models": models})
    assert message in str(caught.value)
