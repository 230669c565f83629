"""xlt check: what it says of a good experiment, and of each thing that would stop a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from fresh_process import modules_after
from preflights import A100, GIB, V100, make_node, one, preflight, told, with_settings

from xlt.data.core.errors import InputError
from xlt.data.core.finding import Finding
from xlt.sweep.check.gpu_types import find_bf16_flops
from xlt.sweep.check.memory import estimate_memory
from xlt.sweep.check.preflight import Preflight
from xlt.sweep.check.registry import BEFORE_A_RUN, CHECKS, check_sweep, refuse_problems
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import Experiment, load_experiment
from xlt.sweep.machines.nodes import Gpu
from xlt.trainables.estimates.memory import GPU_CONTEXT
from xlt.trainables.spec.resources import Resources


def test_a_good_experiment(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(experiment_file), "--results", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "Experiment tiny: 10 trials, 0 done" in out
    for title in ("Data", "Base models", "Machines", "Memory", "Results", "Time"):
        assert f"\n{title}\n" in out
    lines = [line.split() for line in out.splitlines()]
    assert sum(line[:3] == ["llama", "folder", "llama"] for line in lines) == 1
    assert out.rstrip().endswith("Nothing found that would stop or spoil the run.")
    assert not (tmp_path / "r").exists()  # nothing is written


def test_files_are_read_and_steps_are_counted_once_for_each_base_model(
    small: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlt.trainables.estimates import dry_run
    from xlt.trainables.models import weights_folder

    calls: dict[str, list[object]] = {"read_tokenizer": [], "dry_run": []}
    for module, name in ((weights_folder, "read_tokenizer"), (dry_run, "dry_run")):
        original = getattr(module, name)

        def counted(first: object, *rest: object, name: str = name, original: Callable[..., object]
                    = original, **options: object) -> object:  # fmt: skip
            calls[name].append(first)
            return original(first, *rest, **options)

        monkeypatch.setattr(module, name, counted)
    check_sweep(with_settings(small, seeds=[0, 1, 2]), backend="inline")
    assert len(calls["read_tokenizer"]) == len({*calls["read_tokenizer"]}) == len(small.models)
    assert len(calls["dry_run"]) == len(small.models)


def test_a_check_of_full_fine_tuning_loads_neither_peft_nor_bitsandbytes(
    small: Experiment, experiment_file: Path
) -> None:
    folder = next(model.path for model in small.models if model.name == "bert")
    models = f"models=[{{name: bert, path: {folder}}}]"
    arguments = ["check", str(experiment_file), "--set", models, "--backend", "inline"]
    assert modules_after(arguments, ("torch", "peft", "bitsandbytes", "ray")) == ["torch"]


def test_done_trials_are_counted_and_timed(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(experiment_file), "--results", str(tmp_path / "r")]
    some = ["--set", "models=[{name: bert, path: %s, method: full, learning_rate: 0.01}]"]
    path = load_experiment(experiment_file).models[2].path
    assert main(["run", *arguments, "--backend", "inline", some[0], some[1] % path]) == 0
    assert main(["check", *arguments, "--set", "seeds=[0, 1, 2]"]) == 0
    out = capsys.readouterr().out
    assert "Experiment tiny: 15 trials, 4 done" in out
    assert [x for x in out.splitlines() if x.startswith("  bert") and "done trials" in x]


def test_measured_memory_stands_beside_the_estimate(small: Experiment) -> None:
    looked_at = preflight(small)
    spec = next(s for s in looked_at.grid.specs if s.base_model == "bert")
    before = one("memory", looked_at)
    column = before.columns.index("# measured")
    assert {row[column] for row in before.rows} == {"-"}
    state = looked_at.states[spec.trial_id]
    record = {"execution": {"peak_memory_bytes": 3 * GIB}}
    states = {**looked_at.states, spec.trial_id: type(state)("done", record=record)}
    after = one("memory", Preflight(looked_at.grid, looked_at.location, looked_at.nodes, states))
    assert {row[0]: row[column] for row in after.rows}["bert"] == "3.0"


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_makes_a_table_of_its_columns(name: str, small: Experiment) -> None:
    found = one(name, preflight(small))
    assert found.title
    assert found.rows or found.notes
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert found.problems == ()


def test_check_sweep_gives_the_outcome_of_each_check(small: Experiment) -> None:
    outcomes = check_sweep(small, backend="inline", only="model=bert,pattern=ja8")
    titles = ["Data", "Base models", "Machines", "Memory", "Results", "Time"]
    assert [outcome.title for outcome in outcomes] == titles
    assert [outcome.problems for outcome in outcomes] == [()] * len(CHECKS)
    assert [row[0] for row in outcomes[1].rows] == ["bert"]
    with pytest.raises(InputError, match="unknown backend 'inlin'"):
        check_sweep(small, backend="inlin")
    with pytest.raises(InputError, match="unknown model 'brt'"):
        check_sweep(small, only="model=brt")


def test_the_checks_of_a_run_are_checks() -> None:
    assert set(BEFORE_A_RUN) < set(CHECKS)


# --- placement ------------------------------------------------------------------------------


def test_a_trial_that_no_node_holds_stops_a_run_before_it_starts(
    experiment_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(experiment_file), "--set", "resources={cpus: 9999}", "--results", str(tmp_path / "r"),
    ]  # fmt: skip
    assert main(["check", *arguments]) == 3
    out = capsys.readouterr().out
    assert "error: llama: a trial needs 9999 CPUs, the cluster's nodes have" in out
    assert "set resources.cpus=" in out
    assert main(["run", *arguments]) == 2
    told_by_run = capsys.readouterr().err
    assert "a trial needs 9999 CPUs" in told_by_run
    assert "`xlt check EXPERIMENT` shows more" in told_by_run
    assert not (tmp_path / "r" / "trials").exists()
    assert modules_after(["run", *arguments], ("torch", "ray")) == []


def test_two_gpus_on_a_cluster_of_one(small: Experiment) -> None:
    two = with_settings(small, resources={"workers": 2, "sharding": "fsdp"})
    found = one("placement", preflight(two, make_node(gpus=(A100,))))
    assert "2 processes of 1 CPUs and 1 GPU each, the cluster's nodes have 8 CPUs and 1" in told(
        found
    )
    assert "set resources.workers=1" in told(found)
    nodes = (make_node(gpus=(A100,)), make_node(gpus=(A100, A100)))
    enough = one("placement", preflight(two, *nodes))
    assert told(enough) == ""
    assert {row[-1] for row in enough.rows} == {"1"}  # three GPUs, two a trial


def test_shares_of_a_gpu(small: Experiment) -> None:
    half = with_settings(small, resources={"gpus": 0.5})
    found = one("placement", preflight(half, make_node(gpus=(A100, A100))))
    assert {row[-1] for row in found.rows} == {"4"}
    few = one("placement", preflight(half, make_node(num_cpus=3, gpus=(A100, A100))))
    assert {row[-1] for row in few.rows} == {"3"}


def test_inline_reserves_nothing(small: Experiment) -> None:
    many = with_settings(small, resources={"cpus": 9999})
    found = one("placement", preflight(many, backend="inline"))
    assert (found.rows, found.problems) == ((), ())


def test_gpus_that_torch_cannot_use_or_that_emulate_bf16(small: Experiment) -> None:
    node = make_node(gpus=(A100,), torch="2.13.0+cpu")
    assert "torch without CUDA (2.13.0+cpu)" in told(one("placement", preflight(small, node)))
    old = one("placement", preflight(small, make_node(gpus=(V100,))))
    assert "compute capability 7.0) has no bf16" in told(old, "warning")
    fp32 = with_settings(small, training={"precision": "fp32"})
    found = one("placement", preflight(fp32, make_node(gpus=(V100,))))
    assert found.problems == ()
    without = with_settings(small, resources={"gpus": 0.0})
    assert one("placement", preflight(without, node)).problems == ()


# --- memory and time ------------------------------------------------------------------------


@pytest.fixture
def large(small: Experiment, tiny_base: Callable[[str], Path], tmp_path: Path) -> Experiment:
    """Make a model with the width of Llama 3 8B, two of its 32 layers and weights of a tiny one."""
    folder = tmp_path / "large"
    folder.mkdir()
    for file in tiny_base("llama").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    transformers.LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=2,
        num_attention_heads=32,
    ).save_pretrained(folder)  # fmt: skip
    wide = {"name": "wide", "path": str(folder), "method": "lora", "learning_rate": 5e-4}
    longer = {"num_train_epochs": 1, "batch_size": 64}
    return with_settings(
        small, models=[wide], patterns=[{"ja8": {"source_rows": 24}}], training=longer
    )


def test_a_large_model_on_a_cpu(large: Experiment) -> None:
    looked_at = preflight(large, make_node(memory=200 * GIB))
    memory = one("memory", looked_at)
    assert told(memory) == ""
    (row,) = memory.rows
    assert float(row[memory.columns.index("# base")]) == pytest.approx(3.77, abs=0.08)
    assert "no GPU: a trial takes about" in told(one("time", looked_at), "warning")
    small_machine = one("memory", preflight(large, make_node(memory=3 * GIB)))
    assert "the largest machine has 3.0" in told(small_machine)
    assert "neither checkpointing nor single rows" in told(small_machine)


def test_a_process_on_a_cpu_needs_more_than_its_tensors(small: Experiment) -> None:
    outcome = one("memory", preflight(small))
    peak, process = (outcome.columns.index(name) for name in ("# peak", "# process"))
    assert all(float(row[process]) > float(row[peak]) + 0.4 for row in outcome.rows)
    assert any("gaps between activations" in note for note in outcome.notes)


def test_only_used_embedding_rows_count_on_a_cpu(small: Experiment) -> None:
    """The texts have fewer tokens than half of the vocabulary of BERT's tokenizer."""
    looked_at = preflight(small)
    spec = next(spec for spec in looked_at.grid.specs if spec.base_model == "bert")
    groups = [Resources(workers=2), Resources(workers=3), Resources(workers=2, sharding="fsdp")]
    specs = [spec, *(spec.model_copy(update={"resources": group}) for group in groups)]
    alone, *together = (looked_at.dry_run(s, 8).memory.optimizer for s in specs)
    assert together[0] == alone < together[1] == together[2]


def test_a_gpu_that_is_too_small(large: Experiment) -> None:
    looked_at = preflight(large, make_node(gpus=(A100,)))
    (group,) = looked_at.groups
    whole, half = (looked_at.dry_run(group.first, rows).memory.peak for rows in (64, 32))
    assert half < whole
    gpu = Gpu("NVIDIA L4", (whole + half) // 2 + GPU_CONTEXT, (8, 9))
    found = one("memory", preflight(large, make_node(gpus=(gpu,))))
    (row,) = found.rows
    assert row[found.columns.index("# rows")] == "32"
    assert "micro-batches are halved until they fit, about 32" in told(found, "warning")
    assert told(found) == ""
    tiny = one("memory", preflight(large, make_node(gpus=(Gpu("T4", 2 * GIB, (7, 5)),))))
    assert "its share of a GPU has 2.0" in told(tiny)
    assert "lora.quantize_base=nf4" in told(tiny)


def test_workers_halve_their_passes_too(large: Experiment) -> None:
    together = with_settings(large, resources={"workers": 2})
    looked_at = preflight(together, make_node(gpus=(A100, A100)))
    (group,) = looked_at.groups
    whole, half = (estimate_memory(looked_at, group.first, rows).peak for rows in (32, 16))
    gpu = Gpu("NVIDIA L4", (whole + half) // 2 + GPU_CONTEXT, (8, 9))
    found = one("memory", preflight(together, make_node(gpus=(gpu, gpu))))
    assert "32 rows at once need" in told(found, "warning")
    assert "about 16" in told(found, "warning")
    assert told(found) == ""


def test_a_remedy_that_suffices_is_named(small: Experiment) -> None:
    small = with_settings(small, training={"num_train_epochs": 1, "batch_size": 64})
    looked_at = preflight(small)
    llama = next(spec for spec in looked_at.grid.specs if spec.base_model == "llama")
    files = looked_at.files(llama)
    assert files
    size = files.sizes["tokenizer.json"]
    needed = looked_at.dry_run(llama, 64).memory.resident(size, writes_checkpoints=True)
    saved = llama.model_copy(
        update={"resources": llama.resources.model_copy(update={"gradient_checkpointing": True})}
    )
    less = looked_at.dry_run(saved, 64).memory.resident(size, writes_checkpoints=True)
    assert less < needed
    between = (needed + less) // 2
    found = one("memory", preflight(small, make_node(memory=between)))
    assert "set resources.gradient_checkpointing=true" in told(found)


def test_trials_side_by_side_share_the_memory(small: Experiment) -> None:
    found = one("memory", preflight(small, make_node(num_cpus=8, memory=2 * GIB)))
    assert "8 trials side by side on 1 machines need" in told(found, "warning")
    assert "raise resources.cpus" in told(found, "warning")


def test_the_speed_of_a_gpu_elsewhere_comes_from_its_data_sheet(small: Experiment) -> None:
    found = one("time", preflight(small, make_node(gpus=(A100,))))
    assert {row[found.columns.index("from")] for row in found.rows} == {"data sheet of the GPU"}
    assert find_bf16_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert find_bf16_flops("NVIDIA L40S") == 362e12
    assert find_bf16_flops("NVIDIA L4") == 121e12
    assert find_bf16_flops("Unheard of") == 0
    unheard = make_node(gpus=(Gpu("Unheard of", 80 * GIB, (9, 0)),))
    assert "not known: llama, gpt_neox, bert" in one("time", preflight(small, unheard)).notes


# --- disk -----------------------------------------------------------------------------------


def test_a_disk_that_is_too_small(
    small: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("xlt.sweep.check.disk.count_free_bytes", lambda folder: 1000)
    kept = with_settings(small, storage={"results": str(tmp_path / "r"), "keep_models": "all"})
    looked_at = preflight(kept)
    assert "keep less: storage.keep_models=best" in told(one("disk", looked_at))
    with pytest.raises(InputError, match="GiB are free; free some"):
        refuse_problems(preflight(kept, asks_hub=False))


def test_kept_weights_are_those_of_the_method(small: Experiment, tmp_path: Path) -> None:
    """With the tokenizer that is kept beside them."""

    def needed(keep: str) -> float:
        storage = {"results": str(tmp_path / "r"), "keep_models": keep, "checkpoint_minutes": None}
        (note,) = one("disk", preflight(with_settings(small, storage=storage))).notes
        return float(note.partition("about ")[2].partition(" GiB")[0])

    looked_at = preflight(small)
    trained = {}
    for group in looked_at.groups:
        weights = 4 * looked_at.dry_run(group.first, group.rows).num_trained
        tokenizer = Path(group.first.base_path, "tokenizer.json").stat().st_size
        trained[group.label] = len(group.pending) * (weights + tokenizer)
    every, adapters, none = needed("all"), needed("adapters"), needed("none")
    assert (every - none) * GIB == pytest.approx(sum(trained.values()), rel=0.25)
    assert (adapters - none) * GIB == pytest.approx(
        trained["llama"] + trained["gpt_neox"], rel=0.25
    )


def test_findings_of_the_gate_are_problems(
    small: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding(
        "language",
        "error",
        "3 rows are in another language",
        "remove them",
        count=3,
    )
    monkeypatch.setattr("xlt.sweep.check.data.check_data", lambda grid: (finding,))
    expected = "data, language: 3 rows are in another language; remove them"
    assert told(one("data", preflight(small))) == expected
    accepted = one("data", preflight(with_settings(small, accept_findings=["language"])))
    assert (told(accepted), told(accepted, "warning")) == ("", expected)
